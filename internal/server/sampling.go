package server

import (
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/godwit-llm/godwit"
)

// samplingFields say how tokens are chosen: the same in all endpoints that
// generate. What is absent or null is as the checkpoint asks for it.
type samplingFields struct {
	Temperature       *float64           `json:"temperature,omitzero" doc:"Randomness; 0 takes the most likely token." minimum:"0" maximum:"2"`
	TopP              *float64           `json:"top_p,omitzero" doc:"Sample from the most likely tokens up to this probability." minimum:"0" maximum:"1"`
	TopK              *int               `json:"top_k,omitzero" doc:"Sample from this many most likely tokens; 0 or -1 for all." minimum:"-1"`
	MinP              *float64           `json:"min_p,omitzero" doc:"Leave out tokens below this share of the largest probability." minimum:"0" maximum:"1"`
	RepetitionPenalty *float64           `json:"repetition_penalty,omitzero" doc:"Divides the logits of tokens that occurred." minimum:"0" maximum:"100"`
	PresencePenalty   *float64           `json:"presence_penalty,omitzero" doc:"Subtracted from the logits of new tokens that occurred." minimum:"-2" maximum:"2"`
	FrequencyPenalty  *float64           `json:"frequency_penalty,omitzero" doc:"The same, for each occurrence." minimum:"-2" maximum:"2"`
	LogitBias         map[string]float64 `json:"logit_bias,omitzero" doc:"Added to the logits of token ids." minimum:"-100" maximum:"100"`
	Seed              *int64             `json:"seed,omitzero" doc:"The same seed gives the same text."`
	Stop              texts              `json:"stop,omitzero" doc:"Texts that end the generation and are not part of it."`
	StopTokenIDs      []int32            `json:"stop_token_ids,omitzero" doc:"Token ids that end the generation."`
	IgnoreEOS         bool               `json:"ignore_eos,omitzero" doc:"Do not stop at the checkpoint's end-of-text ids."`
}

// maxStops bounds the work that stop texts make at each token.
const maxStops = 16

// apply puts the fields into a request, over the checkpoint's own sampling.
func (f *samplingFields) apply(r *godwit.Request, m *godwit.Model) error {
	if err := f.check(); err != nil {
		return err
	}
	defaults := m.DefaultSampling()
	set(&defaults.Temperature, f.Temperature)
	set(&defaults.TopP, f.TopP)
	set(&defaults.TopK, f.TopK)
	set(&defaults.MinP, f.MinP)
	set(&defaults.RepetitionPenalty, f.RepetitionPenalty)
	set(&defaults.PresencePenalty, f.PresencePenalty)
	set(&defaults.FrequencyPenalty, f.FrequencyPenalty)
	defaults.TopK = max(defaults.TopK, 0)
	var err error
	if defaults.LogitBias, err = f.bias(m.Vocabulary()); err != nil {
		return err
	}
	r.Sampling, r.Stop, r.StopIDs, r.IgnoreEOS = &defaults, f.Stop, f.StopTokenIDs, f.IgnoreEOS
	if f.Seed != nil {
		seed := uint64(*f.Seed)
		r.Seed = &seed
	}
	return nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// check holds the numbers against the limits of the API.
func (f *samplingFields) check() error {
	topK := 0.0
	if f.TopK != nil {
		topK = float64(*f.TopK)
	}
	for _, v := range []struct {
		name      string
		value     *float64
		low, high float64
	}{
		{"temperature", f.Temperature, 0, 2},
		{"top_p", f.TopP, 0, 1},
		{"top_k", &topK, -1, 1 << 31},
		{"min_p", f.MinP, 0, 1},
		{"repetition_penalty", f.RepetitionPenalty, 0, 100},
		{"presence_penalty", f.PresencePenalty, -2, 2},
		{"frequency_penalty", f.FrequencyPenalty, -2, 2},
	} {
		if v.value != nil && !(*v.value >= v.low && *v.value <= v.high) {
			return invalid(v.name, "%s is %g, want %g to %g", v.name, *v.value, v.low, v.high)
		}
	}
	if len(f.Stop) > maxStops {
		return invalid("stop", "stop has %d texts, want at most %d", len(f.Stop), maxStops)
	}
	return nil
}

// bias reads logit_bias, whose names are token ids.
func (f *samplingFields) bias(vocabulary int) (map[int32]float64, error) {
	if len(f.LogitBias) == 0 {
		return nil, nil
	}
	out := make(map[int32]float64, len(f.LogitBias))
	for name, value := range f.LogitBias {
		id, err := strconv.ParseInt(name, 10, 32)
		if err != nil || id < 0 || int(id) >= vocabulary {
			return nil, invalid("logit_bias", "logit_bias has the name %q, want a token id, 0 to %d", name, vocabulary-1)
		}
		if !(value >= -100 && value <= 100) {
			return nil, invalid("logit_bias", "logit_bias of id %s is %g, want -100 to 100", name, value)
		}
		out[int32(id)] = value
	}
	return out, nil
}

// texts is a text or a list of them.
type texts []string

// UnmarshalJSONFrom reads either form.
func (t *texts) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if err := expect(d, `"[n`, "a string or a list of strings"); err != nil {
		return err
	}
	if d.PeekKind() == '"' {
		*t = texts{""}
		return json.UnmarshalDecode(d, &(*t)[0])
	}
	return json.UnmarshalDecode(d, (*[]string)(t))
}

// streamOptions say what a stream reports besides the text.
type streamOptions struct {
	IncludeUsage       bool `json:"include_usage,omitzero" doc:"End the stream with an event that counts tokens."`
	IncludeObfuscation bool `json:"include_obfuscation,omitzero" doc:"Accepted; this server adds no padding."`
}

// commonFields are fields that say nothing about the text. Those that name a
// user or a cache are taken and not used: prefixes are always cached.
type commonFields struct {
	Model            string            `json:"model,omitzero" doc:"A name from /v1/models; absent for the one that is served."`
	User             string            `json:"user,omitzero" doc:"Accepted and not used."`
	SafetyIdentifier string            `json:"safety_identifier,omitzero" doc:"Accepted and not used."`
	PromptCacheKey   string            `json:"prompt_cache_key,omitzero" doc:"Accepted and not used: all prompts share one cache."`
	Metadata         map[string]string `json:"metadata,omitzero" doc:"Accepted and not used."`
	ServiceTier      string            `json:"service_tier,omitzero" doc:"auto or default." enum:"auto,default"`
	Store            bool              `json:"store,omitzero" doc:"Only false: nothing is stored."`
}

func (f *commonFields) check() error {
	if f.Store {
		return unsupported("store", "store is true, want false: nothing is stored between requests")
	}
	switch f.ServiceTier {
	case "", "auto", "default":
		return nil
	}
	return unsupported("service_tier", "service_tier is %q, want auto or default", f.ServiceTier)
}
