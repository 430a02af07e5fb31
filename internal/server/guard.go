package server

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// guard keeps web pages of other sites from using the server through a
// visitor's browser.
type guard struct {
	origins []string
	any     bool
	hosts   []string // nil: every name is right
	cross   *http.CrossOriginProtection
}

func newGuard(o Options) (*guard, error) {
	g := &guard{origins: o.Origins, any: slices.Contains(o.Origins, "*"), cross: http.NewCrossOriginProtection()}
	if o.Keys == nil {
		g.hosts = append([]string{"localhost"}, o.Hosts...)
	}
	for _, origin := range o.Origins {
		if origin == "*" {
			continue
		}
		if err := g.cross.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("server: origin %q: %w", origin, err)
		}
	}
	return g, nil
}

// check refuses what only a browser that was lured would send.
func (g *guard) check(r *http.Request) error {
	if !g.knowsHost(r.Host) {
		return &apiError{
			Status: http.StatusForbidden, Type: typeInvalid, Code: "unknown_host",
			Message: fmt.Sprintf("the request is for the host %q, which this server does not know itself by; see --allow-host, or ask for an API key", r.Host),
		}
	}
	if g.any {
		return nil
	}
	if err := g.cross.Check(r); err != nil {
		return &apiError{
			Status: http.StatusForbidden, Type: typeInvalid, Code: "unknown_origin",
			Message: fmt.Sprintf("a page of %q may not use this server; see --allow-origin", r.Header.Get("Origin")),
		}
	}
	return nil
}

// knowsHost accepts addresses and known names. Any other name may be one that
// a hostile site made point to this machine.
func (g *guard) knowsHost(host string) bool {
	if g.hosts == nil || host == "" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return net.ParseIP(host) != nil || slices.Contains(g.hosts, "*") || slices.Contains(g.hosts, host) || strings.HasSuffix(host, ".localhost")
}

// allow sets the headers with which a browser lets a page of an allowed site
// read the answer. It reports whether r only asks for them.
func (g *guard) allow(w http.ResponseWriter, r *http.Request) (preflight bool) {
	origin := r.Header.Get("Origin")
	if origin == "" || !g.any && !slices.Contains(g.origins, origin) {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
