package model

// Generation is what a generation_config.json says about choosing tokens.
type Generation struct {
	EOS               []int32 // nil where the file has none
	Sample            bool    // do_sample; without it the next four are 0 and not read
	Temperature       float64 // 1 where the file has none
	TopK              int     // 0: all
	TopP, MinP        float64 // 0: all
	RepetitionPenalty float64 // 0: none
}

// DecodeGeneration reads a generation_config.json. Errors wrap ErrInvalid and
// name the field.
func DecodeGeneration(data []byte) (Generation, error) {
	f, err := parseFields("generation_config.json", data)
	if err != nil {
		return Generation{}, err
	}
	g := Generation{
		EOS:               f.ids("eos_token_id"),
		Sample:            f.boolean(false, "do_sample"),
		RepetitionPenalty: f.within(0, 100, 0, "repetition_penalty"),
	}
	if g.Sample {
		g.Temperature = f.within(0, 100, 1, "temperature")
		g.TopK = f.integer(0, "top_k")
		g.TopP = f.within(0, 1, 0, "top_p")
		g.MinP = f.within(0, 1, 0, "min_p")
	}
	return g, f.err
}
