package clients

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// proxy passes requests on and holds every answer against the document.
type proxy struct {
	*httptest.Server
	url string

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	document map[string]any
	faults   []string
	seen     map[string]bool // "POST /v1/completions 200"
}

func startProxy(target string) (*proxy, error) {
	answer, err := http.Get(target + "/openapi.json")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	doc, err := jsonschema.UnmarshalJSON(answer.Body)
	if err != nil {
		return nil, err
	}
	p := &proxy{compiler: jsonschema.NewCompiler(), document: doc.(map[string]any), seen: map[string]bool{}}
	if err := p.compiler.AddResource("openapi.json", doc); err != nil {
		return nil, err
	}
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	p.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			whole(r)
		},
		FlushInterval:  -1,
		ModifyResponse: p.watch,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // the client left
	})
	p.url = p.Server.URL
	return p, nil
}

// whole reads a request's body first: an answer that begins while a
// ReverseProxy still reads the end of the body closes it under the reader.
func whole(r *httputil.ProxyRequest) {
	if data, err := io.ReadAll(r.In.Body); err == nil && len(data) > 0 {
		r.Out.Body = io.NopCloser(bytes.NewReader(data))
	}
}

// close returns what was wrong.
func (p *proxy) close() []string {
	p.Server.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// watch keeps a copy of an answer and judges it when all of it has passed.
func (p *proxy) watch(r *http.Response) error {
	r.Body = &copied{ReadCloser: r.Body, done: func(data []byte, whole bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := p.judge(r, data, whole); err != nil {
			p.faults = append(p.faults, fmt.Sprintf("%s %s %d: %v: %.2000s", r.Request.Method, r.Request.URL.Path, r.StatusCode, err, data))
		}
	}}
	return nil
}

type copied struct {
	io.ReadCloser
	buf  bytes.Buffer
	done func(data []byte, whole bool)
	once sync.Once
}

func (c *copied) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.buf.Write(b[:n])
	if err != nil {
		c.once.Do(func() { c.done(c.buf.Bytes(), err == io.EOF) })
	}
	return n, err
}

func (c *copied) Close() error {
	c.once.Do(func() { c.done(c.buf.Bytes(), false) })
	return c.ReadCloser.Close()
}

// judge finds the answer's schema in the document.
func (p *proxy) judge(r *http.Response, data []byte, whole bool) error {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	path, method := p.path(r.Request.URL.Path), strings.ToLower(r.Request.Method)
	p.seen[fmt.Sprintf("%s %s %d", r.Request.Method, path, r.StatusCode)] = true
	if path == "" {
		return errors.New("the document does not know the path")
	}
	status := fmt.Sprint(r.StatusCode)
	place := "openapi.json#/paths/" + strings.ReplaceAll(path, "/", "~1") + "/" + method + "/responses/"
	responses := p.document["paths"].(map[string]any)[path].(map[string]any)[method].(map[string]any)["responses"].(map[string]any)
	if responses[status] == nil {
		status = "default"
	}
	if kind == "text/plain" {
		return nil
	}
	s, err := p.compiler.Compile(place + status + "/content/" + strings.ReplaceAll(kind, "/", "~1") + "/schema")
	if err != nil {
		return err
	}
	if kind == "text/event-stream" {
		return judgeEvents(s, string(data), whole)
	}
	return judgeOne(s, string(data))
}

// path returns the document's name of a path.
func (p *proxy) path(of string) string {
	for name := range p.document["paths"].(map[string]any) {
		prefix, _, open := strings.Cut(name, "{")
		if name == of || open && strings.HasPrefix(of, prefix) {
			return name
		}
	}
	return ""
}

// judgeEvents looks at each event; the last one of an answer that a client
// left may be cut.
func judgeEvents(s *jsonschema.Schema, text string, whole bool) error {
	list := strings.Split(text, "\n\n")
	if !whole {
		list = list[:len(list)-1]
	}
	for _, event := range list {
		_, data, ok := strings.Cut(event, "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		if err := judgeOne(s, data); err != nil {
			return err
		}
	}
	return nil
}

func judgeOne(s *jsonschema.Schema, data string) error {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(v)
}
