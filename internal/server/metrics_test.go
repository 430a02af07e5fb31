package server

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/godwit-llm/godwit"
)

// scrape reads /metrics with Prometheus' own parser.
func (ts *testServer) scrape() map[string]*dto.MetricFamily {
	ts.t.Helper()
	answer := ts.do("GET", "/metrics", "")
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		ts.t.Fatalf("got %d and %v", answer.StatusCode, err)
	}
	return families
}

// gauge returns the value of a metric without labels of its own.
func gauge(t *testing.T, families map[string]*dto.MetricFamily, name string) float64 {
	t.Helper()
	f := families[name]
	if f == nil {
		t.Fatalf("%s is missing", name)
	}
	m := f.GetMetric()[0]
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		return m.GetCounter().GetValue()
	case dto.MetricType_HISTOGRAM:
		return float64(m.GetHistogram().GetSampleCount())
	default:
		return m.GetGauge().GetValue()
	}
}

// TestMetrics counts what was done, under the names that others expect.
func TestMetrics(t *testing.T) {
	m, err := godwit.OpenBuiltin(godwit.Options{Device: "cpu", MaxSequences: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ts := start(t, Options{Names: []string{"small"}, Version: "v1"})
	if got := gauge(t, ts.scrape(), "godwit_ready"); got != 0 {
		t.Errorf("got ready %g while loading, want 0", got)
	}
	ts.Use(m)
	var chat chatCompletion
	ts.call("POST", "/v1/chat/completions", `{`+hello+`,"max_tokens":7,"n":2,"ignore_eos":true}`, 200, &chat)
	ts.refuse("POST", "/v1/chat/completions", `{}`, 400)
	ts.refuse("GET", "/nowhere/1", "", 404)
	f := ts.scrape()
	for name, want := range map[string]float64{
		"godwit_ready": 1, "vllm:num_requests_running": 0, "vllm:num_requests_waiting": 0, "vllm:kv_cache_usage_perc": 0,
		"vllm:generation_tokens_total": 14, "vllm:time_to_first_token_seconds": 2, "vllm:inter_token_latency_seconds": 12,
		"vllm:time_per_output_token_seconds": 12, "vllm:request_queue_time_seconds": 2, "vllm:e2e_request_latency_seconds": 2,
		"vllm:request_prompt_tokens": 2, "vllm:request_generation_tokens": 2, "vllm:request_success_total": 2, "godwit_slots": 2,
	} {
		if got := gauge(t, f, name); got != want {
			t.Errorf("%s: got %g, want %g", name, got, want)
		}
	}
	if got := f["vllm:num_requests_running"].GetMetric()[0].GetLabel()[0]; got.GetName() != "model_name" || got.GetValue() != "small" {
		t.Errorf("got label %v, want the model's name", got)
	}
	if got, want := gauge(t, f, "vllm:prompt_tokens_total"), float64(2*chat.Usage.PromptTokens); got != want {
		t.Errorf("got %g tokens of prompts, want %g: both choices', computed or found", got, want)
	}
	talk := `{"max_tokens":1,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 200) + `"}`
	ts.call("POST", "/v1/chat/completions", talk+`]}`, 200, &chat)
	ts.call("POST", "/v1/chat/completions", talk+`,{"role":"assistant","content":"Yes."},{"role":"user","content":"And?"}]}`, 200, &chat)
	ts.call("POST", "/v1/chat/completions", talk+`,{"role":"assistant","content":"Yes."},{"role":"user","content":"Or?"}]}`, 200, &chat)
	f = ts.scrape()
	hits, queries := gauge(t, f, "vllm:prefix_cache_hits_total"), gauge(t, f, "vllm:prefix_cache_queries_total")
	if cached := chat.Usage.PromptTokensDetails.CachedTokens; cached == 0 || hits < float64(cached) || queries <= hits {
		t.Errorf("got %g hits of %g and %d cached tokens, want some", hits, queries, cached)
	}
	routes := map[string]float64{}
	for _, c := range f["godwit_http_requests_total"].GetMetric() {
		routes[c.GetLabel()[0].GetValue()+" "+c.GetLabel()[1].GetValue()] = c.GetCounter().GetValue()
	}
	if routes["POST /v1/chat/completions 200"] != 4 || routes["POST /v1/chat/completions 400"] != 1 || routes["other 404"] != 1 {
		t.Errorf("got %v", routes)
	}
}

// TestMetricsLint holds our own names against Prometheus' rules. The others
// break them by their colon.
func TestMetricsLint(t *testing.T) {
	ts := startBuiltin(t, Options{})
	problems, err := promlint.New(ts.do("GET", "/metrics", "").Body).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "godwit_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestQueueFull answers with status 429 and when to come back.
func TestQueueFull(t *testing.T) {
	m, err := godwit.OpenBuiltin(godwit.Options{Device: "cpu", MaxSequences: 1, QueueLimit: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ts := start(t, Options{})
	ts.Use(m)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ts.stream(ctx, long)
	waitFor(t, "the first to run", func() bool { return m.Metrics().Running == 1 })
	ts.stream(ctx, long)
	answer := ts.do("POST", "/v1/chat/completions", long)
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" {
		t.Errorf("got %d and %v, want 429 and when to come back", answer.StatusCode, answer.Header)
	}
	e := ts.refuse("POST", "/v1/chat/completions", strings.Replace(long, `"stream":true`, `"n":3`, 1), 429)
	if e.Type != typeRateLimit || *e.Code != "queue_full" {
		t.Errorf("got %+v", e)
	}
	cancel()
	waitFor(t, "the room of those that left", func() bool { return m.Metrics().Queued+m.Metrics().Running == 0 })
	var chat chatCompletion
	ts.call("POST", "/v1/chat/completions", `{`+hello+`,"max_tokens":1}`, 200, &chat)
}

// TestDashboard: the dashboard asks for metrics that there are.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../../deploy/helm/godwit/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	ts := startBuiltin(t, Options{})
	var chat chatCompletion
	ts.call("POST", "/v1/chat/completions", `{`+hello+`,"max_tokens":1}`, 200, &chat)
	known := ts.scrape()
	names := regexp.MustCompile(`(?:vllm:|godwit_|process_)[a-z_0-9]+`)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			for _, name := range names.FindAllString(target.Expr, -1) {
				if known[strings.TrimSuffix(name, "_bucket")] == nil {
					t.Errorf("%s: %s is not one of the server's metrics", p.Title, name)
				}
			}
		}
	}
	page, err := os.ReadFile("../../docs/serve/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range known {
		if ours := strings.HasPrefix(name, "vllm:") || strings.HasPrefix(name, "godwit_"); ours && !strings.Contains(string(page), name) && !strings.Contains(string(page), strings.TrimPrefix(name, "godwit_requests")) {
			t.Errorf("docs/serve/metrics.md does not tell of %s", name)
		}
	}
}
