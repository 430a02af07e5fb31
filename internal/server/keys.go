package server

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// Keys are the API keys that a server accepts. They can be exchanged while it
// runs.
type Keys struct {
	digests atomic.Pointer[[][sha256.Size]byte]
}

// NewKeys returns a set of keys; an empty one accepts none.
func NewKeys(list ...string) *Keys {
	k := &Keys{}
	k.Set(list...)
	return k
}

// Set exchanges all keys.
func (k *Keys) Set(list ...string) {
	digests := make([][sha256.Size]byte, len(list))
	for i, key := range list {
		digests[i] = sha256.Sum256([]byte(key))
	}
	k.digests.Store(&digests)
}

// Accept reports whether key is one of the keys. How long that takes depends
// on their number alone.
func (k *Keys) Accept(key string) bool {
	digest, found := sha256.Sum256([]byte(key)), 0
	for _, d := range *k.digests.Load() {
		found |= subtle.ConstantTimeCompare(d[:], digest[:])
	}
	return found == 1
}

// ReadKeys reads one key a line; empty lines and those that begin with # do
// not count.
func ReadKeys(r io.Reader) ([]string, error) {
	var list []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list, lines.Err()
}

// authorize asks for a key.
func (s *Server) authorize(r *http.Request) error {
	if s.opts.Keys == nil {
		return nil
	}
	refused := &apiError{Status: http.StatusUnauthorized, Type: typeInvalid, Code: "invalid_api_key"}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case key == "":
		refused.Message = "no API key: send the header Authorization: Bearer KEY"
	case !strings.EqualFold(scheme, "Bearer") || !s.opts.Keys.Accept(key):
		refused.Message = "the API key is not one of this server's"
	default:
		return nil
	}
	return refused
}
