package dvr

import "srs/rtmp/live"

// A source gives the frames of one publish: a live.Reader.
type source interface {
	Poll() (live.Frame, bool, error) // false: no frame at the moment; io.EOF and Gap: the last are missing
	Over() <-chan struct{}           // closed at the publish's end
	Unread()                         // gives the frame of the last Poll back
	Wait()                           // in place of Poll: passes over what is in front of the newest keyframe
	Close()
}

// Published starts a recording of a publish whose vhost records. It is called
// before the publish's first tag, so that nothing is missed, and returns at once.
func (r *Recorder) Published(p *live.Publication) {
	r.record(p.Publisher(), func() source { return p.NewReader(r.lag) })
}
