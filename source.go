package godwit

import (
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
)

// source is where a model's weights come from.
type source interface {
	model.Weights
	Close() error
}

// made is a source of random weights. It tells of the progress of making them.
type made struct {
	*model.Random
	opts        Options
	done, total int64 // bytes
}

// randomSeed is that of all random models.
const randomSeed = 1

func newMade(d *model.Definition, opts Options) (*made, error) {
	r, err := d.Random(randomSeed)
	if err != nil {
		return nil, err
	}
	m := &made{Random: r, opts: opts}
	for _, t := range r.Tensors() {
		m.total += model.Usage{Tensor: t}.Bytes()
	}
	return m, nil
}

// Made is asked for once for each tensor.
func (m *made) Made(name string) ops.Random {
	t, _ := m.Lookup(name)
	m.done += model.Usage{Tensor: t}.Bytes()
	m.opts.event(Event{Kind: Progress, Done: m.done, Total: m.total})
	return m.Random.Made(name)
}
