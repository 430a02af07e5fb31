package page

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestHeaders(t *testing.T) {
	for target, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/page/style.css": "text/css; charset=utf-8",
		"/page/app.js": "text/javascript; charset=utf-8", "/page/icon.svg": "image/svg+xml",
	} {
		r := get(t, "GET", target)
		for name, want := range map[string]string{
			"Content-Type": kind, "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff",
			"Cache-Control": "no-cache", "Referrer-Policy": "no-referrer",
		} {
			if got := r.Header.Get(name); r.StatusCode != 200 || got != want {
				t.Errorf("%s: status %d, %s is %q, want %q", target, r.StatusCode, name, got, want)
			}
		}
	}
}

// TestUnchanged: a browser that has a file is not sent it again.
func TestUnchanged(t *testing.T) {
	etag := get(t, "GET", "/").Header.Get("ETag")
	if other := get(t, "GET", "/page/app.js").Header.Get("ETag"); len(etag) < 12 || etag == other {
		t.Errorf("got the tags %q and %q, want two that differ", etag, other)
	}
	r := get(t, "GET", "/", "If-None-Match", etag)
	if body := text(t, r); r.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("got status %d and %d bytes, want 304 and none", r.StatusCode, len(body))
	}
	if r = get(t, "GET", "/", "If-None-Match", `"older"`); r.StatusCode != 200 {
		t.Errorf("got status %d for an older tag, want 200", r.StatusCode)
	}
	if r = get(t, "HEAD", "/"); r.StatusCode != 200 || text(t, r) != "" || r.ContentLength == 0 {
		t.Errorf("HEAD: got status %d and length %d", r.StatusCode, r.ContentLength)
	}
}

func TestGzip(t *testing.T) {
	for accept, want := range map[string]string{"": "", "gzip, deflate, br": "gzip", "br, GZIP;q=0.5": "gzip", "gzip;q=0": "", "gzip; q=0.000": "", "x-gzip": ""} {
		r := get(t, "GET", "/page/app.js", "Accept-Encoding", accept)
		if got := r.Header.Get("Content-Encoding"); got != want || r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("accepting %q: got %q that varies by %q, want %q", accept, got, r.Header.Get("Vary"), want)
		}
		body := io.Reader(r.Body)
		if want != "" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				t.Fatal(err)
			}
		}
		if data, err := io.ReadAll(body); err != nil || !bytes.Equal(data, load()["app.js"].plain.data) {
			t.Errorf("accepting %q: got %d bytes that are not the file's, and %v", accept, len(data), err)
		}
	}
}

func TestUnknownFiles(t *testing.T) {
	for _, target := range []string{"/page/", "/page/nothing.js", "/page/../page.go", "/page/files/app.js", "/page/%2e%2e/page.go"} {
		if r := get(t, "GET", target); r.StatusCode != 404 {
			t.Errorf("%s: got status %d, want 404", target, r.StatusCode)
		}
	}
}

// TestSelfContained: whatever a file refers to is one of the files, and all
// together are small.
func TestSelfContained(t *testing.T) {
	reference := regexp.MustCompile(`(?:src|href)="([^"#]+)"|from '\./([^']+)'|url\(([^)]+)\)`)
	assets, size, sent := load(), 0, 0
	for name, a := range assets {
		size += len(a.plain.data)
		sent += len(a.zipped.data)
		if a.kind == "" {
			t.Errorf("%s has no media type", name)
		}
		for _, m := range reference.FindAllStringSubmatch(string(a.plain.data), -1) {
			target := m[1] + m[2] + m[3]
			if _, ok := assets[path.Base(target)]; !ok || strings.Contains(target, "//") || strings.HasPrefix(target, "/") {
				t.Errorf("%s refers to %s, which is not a file of the page by a relative address", name, target)
			}
		}
	}
	if size > 64<<10 || sent > 24<<10 {
		t.Errorf("the page has %d bytes and sends %d, want at most %d and %d", size, sent, 64<<10, 24<<10)
	}
}

// TestNoMarkupFromText: no script turns text into markup or code.
func TestNoMarkupFromText(t *testing.T) {
	unsafe := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|createContextualFragment|setHTML`)
	inline := regexp.MustCompile(`<script>|\son\w+=|style="`)
	for name, a := range load() {
		if found := unsafe.Find(a.plain.data); path.Ext(name) == ".js" && found != nil {
			t.Errorf("%s uses %s", name, found)
		}
		if found := inline.Find(a.plain.data); path.Ext(name) == ".html" && found != nil {
			t.Errorf("%s has %q, which the policy forbids", name, found)
		}
	}
}
