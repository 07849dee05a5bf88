package hook

import (
	"net/http"
	"strings"
	"testing"
)

// HK-07, HK-09: the acceptance rule, at a real endpoint.
var verdicts = []struct {
	status int
	body   string
	want   string // "" accepts
}{
	{200, "0", ""},
	{201, "0", ""},
	{200, "0\n", ""},
	{200, " \t\r\n\v\f0\f\v\n\r\t ", ""},
	{200, `{"code":0}`, ""},
	{200, "\r\n{ \"code\" : 0 }\r\n", ""},
	{201, `{"code":0,"data":{"code":1}}`, ""},
	{200, `{"data":[{"code":1},[[]],"x\"}",null,1e9],"code":0}`, ""},
	{200, `{"x":"\u0000","code":0,"Code":1}`, ""},
	{200, `{"c\u006fde":0}`, ""},

	{200, "1", ReasonDenied},
	{200, "-1", ReasonDenied},
	{200, "100\n", ReasonDenied},
	{200, `{"code":1}`, ReasonDenied},
	{200, `{"code":-7,"data":0}`, ReasonDenied},

	{200, "", ReasonBadResponse},
	{200, " \n", ReasonBadResponse},
	{200, "OK", ReasonBadResponse},
	{200, "00", ReasonBadResponse},
	{200, "0.0", ReasonBadResponse},
	{200, "0e0", ReasonBadResponse},
	{200, "-0", ReasonBadResponse},
	{200, "+0", ReasonBadResponse},
	{200, "0 0", ReasonBadResponse},
	{200, "0\x00", ReasonBadResponse},
	{200, "\u00a00", ReasonBadResponse},
	{200, "\ufeff0", ReasonBadResponse},
	{200, `"0"`, ReasonBadResponse},
	{200, "true", ReasonBadResponse},
	{200, "null", ReasonBadResponse},
	{200, "[0]", ReasonBadResponse},
	{200, "{}", ReasonBadResponse},
	{200, `{"code":"0"}`, ReasonBadResponse},
	{200, `{"code":0.0}`, ReasonBadResponse},
	{200, `{"code":-0}`, ReasonBadResponse},
	{200, `{"code":0e1}`, ReasonBadResponse},
	{200, `{"code":00}`, ReasonBadResponse},
	{200, `{"code":null}`, ReasonBadResponse},
	{200, `{"code":false}`, ReasonBadResponse},
	{200, `{"code":[0]}`, ReasonBadResponse},
	{200, `{"code":{"code":0}}`, ReasonBadResponse},
	{200, `{"Code":0}`, ReasonBadResponse},
	{200, `{"code ":0}`, ReasonBadResponse},
	{200, `{"data":{"code":0}}`, ReasonBadResponse},
	{200, `{"code":0,"code":0}`, ReasonBadResponse},
	{200, `{"code":1,"code":0}`, ReasonBadResponse},
	{200, `{"code":0,"c\u006fde":1}`, ReasonBadResponse},
	{200, `{"code":0}0`, ReasonBadResponse},
	{200, `{"code":0}{}`, ReasonBadResponse},
	{200, `{"code":0`, ReasonBadResponse},
	{200, `{"code":0,}`, ReasonBadResponse},
	{200, `{code:0}`, ReasonBadResponse},
	{200, `{"code":99999999999999999999}`, ReasonBadResponse},
	{200, "{\"code\":0,\"x\":\"\xff\"}", ReasonBadResponse},
	{200, strings.Repeat("[", 60_000), ReasonBadResponse},
	{200, `{"code":0,"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "}", ReasonBadResponse},
	{200, strings.Repeat(" ", maxBody-1) + "0", ""},
	{200, strings.Repeat(" ", maxBody) + "0", ReasonTooBig},
	{200, strings.Repeat("[", 100_000), ReasonTooBig},

	{202, "0", ReasonStatus},
	{203, "0", ReasonStatus},
	{204, "", ReasonStatus},
	{206, "0", ReasonStatus},
	{304, "", ReasonStatus},
	{400, "0", ReasonStatus},
	{401, `{"code":0}`, ReasonStatus},
	{403, "0", ReasonStatus},
	{404, "0", ReasonStatus},
	{429, "0", ReasonStatus},
	{500, "0", ReasonStatus},
	{503, "", ReasonStatus},
	{301, "0", ReasonRedirect},
	{302, "0", ReasonRedirect},
	{303, "0", ReasonRedirect},
	{307, "0", ReasonRedirect},
	{308, "0", ReasonRedirect},
}

func TestHK07(t *testing.T) {
	var row int
	srv := newLedger(t, func(w http.ResponseWriter, _ call) {
		w.WriteHeader(verdicts[row].status)
		w.Write([]byte(verdicts[row].body))
	})
	e := testEngine(t, all(srv.URL))
	c := e.Client()
	for i, v := range verdicts {
		row = i
		err := c.Ask(t.Context(), event(OnPublish, 1, "s"))
		shown := v.body[:min(len(v.body), 60)]
		if got := reason(t, err); got != v.want {
			t.Errorf("%d %q: %q, want %q (%v)", v.status, shown, got, v.want, err)
			continue
		}
		if err != nil && v.want != ReasonTooBig && err.(*Refusal).Status != v.status {
			t.Errorf("%d %q: status %d", v.status, shown, err.(*Refusal).Status)
		}
		if err != nil && len(v.body) > 8 && strings.Contains(err.Error(), v.body[:8]) {
			t.Errorf("the endpoint's text is in %q", err)
		}
	}
	if n := len(srv.seen()); n != len(verdicts) {
		t.Errorf("%d requests for %d gates", n, len(verdicts))
	}
}

// What counts as delivered, which is not what counts as yes.
func TestTook(t *testing.T) {
	for status, want := range map[int]bool{
		200: true, 201: true, 204: true, 299: true, 400: true, 403: true, 404: true, 410: true, 499: true,
		301: false, 304: false, 308: false, 408: false, 425: false, 429: false, 500: false, 503: false, 599: false,
	} {
		if got := (answer{status: status}).taken(nil); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
}

func FuzzVerdict(f *testing.F) {
	for _, v := range verdicts {
		if len(v.body) < 1000 {
			f.Add(v.status, []byte(v.body))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		r := answer{status: status, body: body}.verdict()
		if r != nil {
			return
		}
		if status != 200 && status != 201 {
			t.Fatalf("status %d accepted", status)
		}
		if text := strings.Trim(string(body), " \t\r\n\v\f"); text != "0" && (text[0] != '{' || !strings.Contains(text, "0")) {
			t.Fatalf("%q accepted", body)
		}
	})
}
