package conf

import "strings"

// unserved has the path of every other directive of SRS 1.0 to 6.0, so that an
// old srs.conf starts, with a warning for each. The value is what the warning
// adds, where silence would be dangerous or a surprise. What stands inside
// their blocks is not looked at.
var unserved = func() map[string]string {
	m := map[string]string{}
	for scope, names := range map[string]string{
		// SRS 1.0 and 2.0, then 3.0 to 6.0.
		"": `ff_log_dir heartbeat http_api http_stream http_server stats pithy_print pithy_print_ms stream_caster
			utc_time asprocess query_latest_version

			srs_log_level_v2 ff_log_level grace_start_wait grace_final_wait force_grace_quit empty_ip_ok in_docker
			disable_daemon_for_docker inotify_auto_reload auto_reload_for_docker tcmalloc_release_rate
			first_wait_for_qlv threads circuit_breaker is_full rtc_server srt_server exporter tencentcloud_cls
			tencentcloud_apm`,
		"vhost": `mode origin token_traverse vhost debug_srs_upnode ingest http hls forward transcode bandcheck
			atc_auto mix_correct send_min_interval reduce_sequence_header http_remux http_static hds

			cluster dash exec in_ack_size out_ack_size rtc srt`,
		"vhost.play":       `mix_correct atc_auto mw_msgs send_min_interval reduce_sequence_header`,
		"vhost.publish":    `parse_sps try_annexb_first kickoff_for_idle`,
		"vhost.http_hooks": `on_hls on_hls_notify on_dvr_reap_segment on_dvr_hss_reap_flv`,
	} {
		for name := range strings.FieldsSeq(names) {
			m[join(scope, name)] = ""
		}
	}

	const open = "; clients are NOT restricted by it"
	for _, name := range []string{"security", "refer", "refer_publish", "refer_play"} {
		m[join("vhost", name)] = open
	}

	const paced = "; players get what there is when it is due, see mw_latency"
	m["vhost.send_min_interval"], m["vhost.play.send_min_interval"] = paced, paced
	return m
}()
