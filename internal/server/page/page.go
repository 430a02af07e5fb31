// Package page holds the chat page that godwit serve shows to a browser, and
// serves its files. It knows nothing of models: the page in the browser is a
// client of the public API, like any other.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed files
var files embed.FS

// index is the file that answers for the page itself.
const index = "index.html"

// policy lets the page load and call nothing but this server, and run no code
// but its own files: text that looks like markup stays text even if the page
// had a fault.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// types are the media types of the files, which do not depend on what the
// machine knows of them.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is one file, ready to be sent.
type asset struct {
	kind   string // media type
	plain  content
	zipped content
}

// content is one encoding of a file.
type content struct {
	data []byte
	etag string
}

func newContent(data []byte) content {
	sum := sha256.Sum256(data)
	return content{data, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

// Handler serves the page at / and its files below /page/.
func Handler() http.Handler {
	assets := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/page/")
		if r.URL.Path == "/" {
			name = index
		}
		a, ok := assets[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		a.serve(w, r)
	})
}

func load() map[string]asset {
	assets := map[string]asset{}
	entries, err := fs.ReadDir(files, "files")
	if err != nil {
		panic(err) // what is embedded is there
	}
	for _, e := range entries {
		data, err := files.ReadFile("files/" + e.Name())
		if err != nil {
			panic(err)
		}
		assets[e.Name()] = asset{types[path.Ext(e.Name())], newContent(data), newContent(zip(data))}
	}
	return assets
}

func zip(data []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // a level that exists
	w.Write(data)                                           // to memory
	w.Close()
	return out.Bytes()
}

// serve sends the file, or says that the browser has it: browsers ask each
// time, so that the files of one page are always of one version.
func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h, c := w.Header(), a.plain
	if takesGzip(r) {
		c = a.zipped
		h.Set("Content-Encoding", "gzip")
	}
	h.Add("Vary", "Accept-Encoding")
	h.Set("Content-Type", a.kind)
	h.Set("ETag", c.etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.data))
}

// takesGzip reports whether the client names gzip without refusing it, as all
// browsers do.
func takesGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.Trim(quality, " q=0.") != "" || strings.TrimSpace(quality) == ""
		}
	}
	return false
}
