package godwit

import "github.com/godwit-llm/godwit/internal/model"

// generationConfig is what generation_config.json says.
type generationConfig struct {
	eos      []int32
	sampling Sampling
}

// parseGenerationConfig reads the file, which may be absent (nil). Without its
// word the end-of-text ids are those of config.json.
func parseGenerationConfig(data []byte, c model.Config) (generationConfig, error) {
	out := generationConfig{eos: c.EOS}
	if data == nil {
		return out, nil
	}
	g, err := model.DecodeGeneration(data)
	if err != nil {
		return out, err
	}
	if g.EOS != nil {
		out.eos = g.EOS
	}
	out.sampling = Sampling{
		Temperature: g.Temperature, TopK: g.TopK, TopP: g.TopP, MinP: g.MinP,
		RepetitionPenalty: g.RepetitionPenalty,
	}
	return out, nil
}
