package kernels

// prompt holds the kernels of this file's operations.
type prompt struct{}

func (k *prompt) open(b *Backend) error { return nil }

func (k *prompt) close() error { return nil }
