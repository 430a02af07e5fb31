package kernels

import "github.com/godwit-llm/godwit/internal/ops"

// attention holds the kernels of this file's operations.
type attention struct{}

func (k *attention) open(b *Backend) error { return nil }

func (k *attention) close() error { return nil }

// Attend is being written.
func (b *Backend) Attend(_, _ ops.Tensor, _ *ops.Attention, _ ops.Cache) {
	b.fail(missing("attend is"))
}
