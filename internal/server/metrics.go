package server

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/godwit-llm/godwit"
)

// metrics are what /metrics tells. Those that vLLM has too carry vLLM's names:
// dashboards and the endpoint picker of the Gateway API's inference extension
// know them. What only this server has begins with godwit_.
type metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec // route, status
	running  prometheus.Gauge
	finished *prometheus.CounterVec // finished_reason
	latency  prometheus.Observer
	prompt   prometheus.Observer
	output   prometheus.Observer
	prefill  prometheus.Observer
	decode   prometheus.Observer
	both     prometheus.Observer // prefill and decode
}

var (
	secondBuckets = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800}
	tokenBuckets  = prometheus.ExponentialBuckets(1, 4, 11) // to a million
)

func newMetrics(s *Server) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	model := prometheus.Labels{"model_name": s.opts.Names[0]}
	histogram := func(name, help string, buckets []float64) prometheus.Observer {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets, ConstLabels: model})
		m.registry.MustRegister(h)
		return h
	}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "godwit_http_requests_total", Help: "HTTP requests by route and status; 499 is a client that left.",
	}, []string{"route", "status"})
	m.running = prometheus.NewGauge(prometheus.GaugeOpts{Name: "godwit_http_requests_in_flight", Help: "HTTP requests that are being answered."})
	m.finished = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vllm:request_success_total", Help: "Generations that ended by themselves.", ConstLabels: model,
	}, []string{"finished_reason"})
	m.latency = histogram("vllm:e2e_request_latency_seconds", "From a request's arrival to the end of a generation.", secondBuckets)
	m.prompt = histogram("vllm:request_prompt_tokens", "Tokens of a generation's prompt.", tokenBuckets)
	m.output = histogram("vllm:request_generation_tokens", "Tokens that a generation made.", tokenBuckets)
	m.prefill = histogram("vllm:request_prefill_time_seconds", "From admission to the first token.", secondBuckets)
	m.decode = histogram("vllm:request_decode_time_seconds", "From the first token to the last.", secondBuckets)
	m.both = histogram("vllm:request_inference_time_seconds", "From admission to the last token.", secondBuckets)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "godwit_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": s.opts.Version, "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.running, m.finished, build, &engineCollector{server: s, labels: model},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler answers GET /metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// answered counts a request.
func (m *metrics) answered(route string, status int) {
	if route == "" || route == "/" {
		route = "other" // paths that do not exist are as many as clients care to invent
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
}

// ended observes a generation that belongs to a request of the given start.
func (m *metrics) ended(started time.Time, r *godwit.Result) {
	m.finished.WithLabelValues(r.FinishReason).Inc()
	m.latency.Observe(time.Since(started).Seconds())
	m.prompt.Observe(float64(len(r.PromptIDs)))
	m.output.Observe(float64(len(r.IDs)))
	m.prefill.Observe(r.Stats.PromptSeconds)
	m.decode.Observe(r.Stats.DecodeSeconds)
	m.both.Observe(r.Stats.PromptSeconds + r.Stats.DecodeSeconds)
}

// engineCollector reads the engine's own counts when somebody asks.
type engineCollector struct {
	server *Server
	labels prometheus.Labels
}

// Describe names nothing: before the model is there, there are no metrics.
func (*engineCollector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics as of now.
func (c *engineCollector) Collect(out chan<- prometheus.Metric) {
	c.server.collectState(out)
	m := c.server.model.Load()
	if m == nil {
		return
	}
	e := m.Metrics()
	for _, g := range engineGauges(&e) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.name, g.help, nil, c.labels), g.kind, g.value)
	}
	for _, h := range engineHistograms(&e) {
		out <- constHistogram(prometheus.NewDesc(h.name, h.help, nil, c.labels), h.of)
	}
	info := prometheus.NewDesc("vllm:cache_config_info", "Always 1; the size of the cache.", []string{"block_size", "num_gpu_blocks"}, c.labels)
	out <- prometheus.MustNewConstMetric(info, prometheus.GaugeValue, 1, strconv.Itoa(m.Plan().CacheTokens/max(e.Pages, 1)), strconv.Itoa(e.Pages))
}

// collectState tells whether requests can be served.
func (s *Server) collectState(out chan<- prometheus.Metric) {
	value := 0.0
	if m, err := s.current(); m != nil && err == nil && !s.draining.Load() {
		value = 1
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("godwit_ready", "1 while requests should be sent here.", nil, nil), prometheus.GaugeValue, value)
}

type engineGauge struct {
	name, help string
	kind       prometheus.ValueType
	value      float64
}

func engineGauges(e *godwit.Metrics) []engineGauge {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []engineGauge{
		{"vllm:num_requests_running", "Requests that share the steps.", gauge, float64(e.Running)},
		{"vllm:num_requests_waiting", "Requests that wait to run.", gauge, float64(e.Queued)},
		{"vllm:kv_cache_usage_perc", "Share of the cache's pages that are in use, 0 to 1.", gauge, share(e.Pages-e.FreePages-e.CachedPages, e.Pages)},
		{"vllm:prompt_tokens_total", "Tokens of prompts, computed or found in the cache.", counter, float64(e.PromptTokens + e.ReusedTokens)},
		{"vllm:prompt_tokens_cached_total", "Those that were found in the cache.", counter, float64(e.ReusedTokens)},
		{"vllm:generation_tokens_total", "Tokens that were sampled.", counter, float64(e.OutputTokens)},
		{"vllm:prefix_cache_queries_total", "Tokens of prompts that were looked up in the cache.", counter, float64(e.Prefixes.Tokens)},
		{"vllm:prefix_cache_hits_total", "Tokens of prompts that were found there.", counter, float64(e.ReusedTokens)},
		{"vllm:spec_decode_num_drafts_total", "Drafts that were verified.", counter, float64(e.Drafts)},
		{"vllm:spec_decode_num_draft_tokens_total", "Tokens of drafts that were verified.", counter, float64(e.DraftedTokens)},
		{"vllm:spec_decode_num_accepted_tokens_total", "Tokens of drafts that were accepted.", counter, float64(e.AcceptedTokens)},
		{"vllm:num_preemptions_total", "Times that a request had to give way to others.", counter, float64(e.Preempted)},
		{"godwit_cache_pages_cached", "Pages that hold what no request uses now.", gauge, float64(e.CachedPages)},
		{"godwit_slots", "Requests that can run at the same time.", gauge, float64(e.Slots)},
		{"godwit_steps_total", "Steps of the engine.", counter, float64(e.Steps)},
		{"godwit_steps_ahead_total", "Steps that were queued while another one ran.", counter, float64(e.Ahead)},
		{"godwit_requests_submitted_total", "Requests that were queued.", counter, float64(e.Submitted)},
		{"godwit_requests_refused_total", "Requests that found the queue full.", counter, float64(e.Refused)},
		{"godwit_requests_cancelled_total", "Requests whose clients left.", counter, float64(e.Cancelled)},
		{"godwit_requests_failed_total", "Requests that the engine could not finish.", counter, float64(e.Failed)},
	}
}

type engineHistogram struct {
	name, help string
	of         godwit.Histogram
}

func engineHistograms(e *godwit.Metrics) []engineHistogram {
	return []engineHistogram{
		{"vllm:time_to_first_token_seconds", "From a request's submission to its first token.", e.FirstToken},
		{"vllm:inter_token_latency_seconds", "From one token of a request to its next.", e.InterToken},
		{"vllm:time_per_output_token_seconds", "Older name of vllm:inter_token_latency_seconds.", e.InterToken},
		{"vllm:request_queue_time_seconds", "From a request's submission to its admission.", e.QueueTime},
		{"godwit_step_seconds", "Duration of a step.", e.StepTime},
	}
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func constHistogram(d *prometheus.Desc, h godwit.Histogram) prometheus.Metric {
	buckets, n := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, bound := range h.Bounds {
		n += h.Counts[i]
		buckets[bound] = n
	}
	return prometheus.MustNewConstHistogram(d, h.Count(), h.Sum, buckets)
}
