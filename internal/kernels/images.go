package kernels

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/godwit-llm/godwit/internal/cuda"
)

//go:embed images
var files embed.FS

// images loads the compiled kernels of a device, a module for each source.
type images struct {
	dev     *cuda.Device
	modules map[string]*cuda.Module
}

// function finds a kernel.
func (m *images) function(source, name string) (*cuda.Function, error) {
	module, err := m.module(source)
	if err != nil {
		return nil, err
	}
	return module.Function(name)
}

func (m *images) module(source string) (*cuda.Module, error) {
	if module := m.modules[source]; module != nil {
		return module, nil
	}
	target := targetOf(m.dev.Info().Capability)
	image, err := readImage(source, target)
	if err != nil {
		return nil, err
	}
	module, err := m.dev.Load(image)
	if err != nil {
		return nil, fmt.Errorf("kernels: image %s for %s: %w", source, target, err)
	}
	if m.modules == nil {
		m.modules = map[string]*cuda.Module{}
	}
	m.modules[source] = module
	return module, nil
}

// close unloads all modules.
func (m *images) close() error {
	var errs []error
	for _, module := range m.modules {
		errs = append(errs, module.Close())
	}
	m.modules = nil
	return errors.Join(errs...)
}

// native lists the architectures that there is native code for. Code for one
// runs on later minor versions of the same major one.
var native = []struct {
	from, below cuda.Capability
	target      string
}{
	{80, 86, "sm_80"},
	{86, 89, "sm_86"},
	{89, 90, "sm_89"},
	{90, 91, "sm_90a"},
	{100, 110, "sm_100"},
	{120, 130, "sm_120"},
}

// fallback is code that the driver compiles for the device.
const fallback = "compute_75"

// ownCode reports whether a device has at least a capability, and code of its own:
// in the fallback, what needs such a capability is left out.
func ownCode(c, least cuda.Capability) bool { return c >= least && targetOf(c) != fallback }

// targetOf returns the architecture whose image a device loads.
func targetOf(c cuda.Capability) string {
	for _, n := range native {
		if c >= n.from && c < n.below {
			return n.target
		}
	}
	return fallback
}

func readImage(source, target string) ([]byte, error) {
	name := "images/" + source + "." + target + ".gz"
	data, err := files.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kernels: %s is not in this binary: run make kernels and build again", name)
	}
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("kernels: %s: %w", name, err)
	}
	image, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("kernels: %s: %w", name, err)
	}
	return image, nil
}
