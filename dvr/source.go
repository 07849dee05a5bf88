package dvr

import (
	"context"

	"srs/rtmp/live"
)

// A source gives the frames of one publish: a live.Reader.
type source interface {
	Next(ctx context.Context) (live.Frame, error)
	Close()
}

// Published starts a recording of a publish whose vhost records. It is called
// before the publish's first tag, so that nothing is missed, and returns at once.
func (r *Recorder) Published(p *live.Publication) {
	r.record(p.Publisher(), func() source { return p.NewReader(maxLag) })
}
