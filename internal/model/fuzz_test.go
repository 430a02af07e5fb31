package model

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// fuzzedCheckpoints returns the tensors of the golden checkpoints and what
// their config.json files hold.
func fuzzedCheckpoints(f *testing.F) (all []*headers, configs [][]byte) {
	paths, err := filepath.Glob(filepath.Join(goldens, "*", "config.json"))
	if err != nil || len(paths) == 0 || len(paths) > 256 {
		f.Fatalf("got %d golden checkpoints in %s, want 1 to 256 (%v)", len(paths), goldens, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, shapes(f, filepath.Base(filepath.Dir(path))))
		configs = append(configs, data)
	}
	return all, configs
}

// FuzzConfig decodes arbitrary bytes, and accounts for what it understands with
// the tensors of a golden checkpoint: errors have a class, figures are not
// negative, and neither takes long or much memory.
func FuzzConfig(f *testing.F) {
	all, configs := fuzzedCheckpoints(f)
	for i, data := range configs {
		f.Add(data, uint8(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8) {
		account(t, data, all[int(which)%len(all)])
	})
}

// FuzzField does so for golden configurations of which one field has another
// value.
func FuzzField(f *testing.F) {
	all, configs := fuzzedCheckpoints(f)
	parsed := make([]map[string]json.RawMessage, len(configs))
	for i, data := range configs {
		if err := json.Unmarshal(quoteConstants(data), &parsed[i]); err != nil {
			f.Fatal(err)
		}
		for name, v := range parsed[i] {
			if i%20 == 0 {
				f.Add(uint8(i), name, []byte(v))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, name string, value []byte) {
		if !json.Valid(value) {
			return
		}
		i := int(which) % len(all)
		config := maps.Clone(parsed[i])
		config[name] = value
		data, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		account(t, data, all[i])
	})
}

// account decodes a configuration and accounts for it.
func account(t *testing.T, data []byte, from Weights) {
	t.Helper()
	bounded(t, 64<<20+1000*uint64(len(data)), func() {
		if err := accountFor(t, data, from); err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("got %v, want an error with a class", err)
		}
	})
}

func accountFor(t *testing.T, data []byte, from Weights) error {
	d, err := Decode(data)
	if err != nil {
		return err
	}
	a, err := d.Account(from, testLimits, Types{})
	if err != nil {
		return err
	}
	for _, n := range []int64{a.WeightBytes(), a.BytesPerToken(), a.PageBytes, a.SequenceBytes, a.ScratchBytes, a.Constants} {
		if n < 0 {
			t.Errorf("got %+v, want no negative figure", a)
		}
	}
	return nil
}

// FuzzGeneration decodes arbitrary bytes as a generation_config.json.
func FuzzGeneration(f *testing.F) {
	f.Add([]byte(`{"eos_token_id": [2, 11], "do_sample": true, "temperature": 0.6, "top_p": 0.95}`))
	f.Add([]byte(`{"do_sample": true, "temperature": NaN, "repetition_penalty": -Infinity}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := DecodeGeneration(data)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
		if err == nil && !(g.Temperature >= 0 && g.TopP >= 0 && g.TopP <= 1 && g.RepetitionPenalty >= 0) {
			t.Errorf("got %+v", g)
		}
	})
}
