package server

import "net/http"

// health says whether the process works: it does while it loads and drains,
// and no longer once the engine has failed.
type healthReport struct {
	Status string `json:"status" enum:"ok,failed"`
	Error  string `json:"error,omitzero"`
}

func (s *Server) health(x *exchange) error {
	if fault := s.fault.Load(); fault != nil {
		writeJSON(x, http.StatusServiceUnavailable, healthReport{Status: "failed", Error: (*fault).Error()})
		return nil
	}
	writeJSON(x, http.StatusOK, healthReport{Status: "ok"})
	return nil
}

// readyReport says whether requests should be sent here.
type readyReport struct {
	Status string  `json:"status" enum:"ready,loading,draining,failed"`
	Loaded float64 `json:"loaded" doc:"Share of the weights that have been read." minimum:"0" maximum:"1"`
}

func (s *Server) ready(x *exchange) error {
	r, status := readyReport{Status: "ready", Loaded: 1}, http.StatusServiceUnavailable
	switch {
	case s.fault.Load() != nil:
		r.Status = "failed"
	case s.model.Load() == nil:
		r.Status, r.Loaded = "loading", float64(s.loaded.Load())/1000
	case s.draining.Load():
		r.Status = "draining"
	default:
		status = http.StatusOK
	}
	writeJSON(x, status, r)
	return nil
}
