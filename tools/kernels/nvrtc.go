//go:build linux

package main

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// compiler is NVIDIA's run-time compiler.
type compiler struct {
	version string
	include string

	create    func(program *uintptr, source, name string, headers int32, texts, names **byte) int32
	compileFn func(program uintptr, n int32, options **byte) int32
	destroy   func(program *uintptr) int32
	message   func(code int32) string
	sizeOf    map[string]func(program uintptr, n *uintptr) int32
	read      map[string]func(program uintptr, p *byte) int32
}

func openCompiler(lib, include string) (*compiler, error) {
	h, err := purego.Dlopen(lib, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	c := &compiler{
		include: include,
		sizeOf:  map[string]func(uintptr, *uintptr) int32{},
		read:    map[string]func(uintptr, *byte) int32{},
	}
	var version func(major, minor *int32) int32
	purego.RegisterLibFunc(&version, h, "nvrtcVersion")
	purego.RegisterLibFunc(&c.create, h, "nvrtcCreateProgram")
	purego.RegisterLibFunc(&c.compileFn, h, "nvrtcCompileProgram")
	purego.RegisterLibFunc(&c.destroy, h, "nvrtcDestroyProgram")
	purego.RegisterLibFunc(&c.message, h, "nvrtcGetErrorString")
	for _, what := range []string{"ProgramLog", "CUBIN", "PTX"} {
		var size func(uintptr, *uintptr) int32
		var read func(uintptr, *byte) int32
		purego.RegisterLibFunc(&size, h, "nvrtcGet"+what+"Size")
		purego.RegisterLibFunc(&read, h, "nvrtcGet"+what)
		c.sizeOf[what], c.read[what] = size, read
	}
	var major, minor int32
	if code := version(&major, &minor); code != 0 {
		return nil, c.failure("nvrtcVersion", code)
	}
	c.version = fmt.Sprintf("NVRTC %d.%d", major, minor)
	return c, nil
}

func (c *compiler) failure(call string, code int32) error {
	return fmt.Errorf("%s: %s (%d)", call, c.message(code), code)
}

// compile returns native code for an sm_ target and PTX for a compute_ one,
// with what the assembler said about each kernel.
func (c *compiler) compile(s *source, target string) (code []byte, u usage, err error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	var texts, names []*byte
	for _, h := range s.headers {
		texts = append(texts, cstring(&pin, h.text))
		names = append(names, cstring(&pin, h.name))
	}
	var program uintptr
	if r := c.create(&program, s.text, s.name+".cu", int32(len(texts)), first(&pin, texts), first(&pin, names)); r != 0 {
		return nil, nil, c.failure("nvrtcCreateProgram", r)
	}
	defer c.destroy(&program)
	list := append([]string{"--gpu-architecture=" + target, "--include-path=" + c.include}, options...)
	var args []*byte
	for _, o := range list {
		args = append(args, cstring(&pin, o))
	}
	result := c.compileFn(program, int32(len(args)), first(&pin, args))
	said, err := c.get(program, "ProgramLog")
	if err != nil {
		return nil, nil, err
	}
	text := strings.TrimRight(string(said), "\x00\n")
	if result != 0 {
		return nil, nil, fmt.Errorf("%s.cu for %s: %s\n%s", s.name, target, c.message(result), text)
	}
	u, rest := parseUsage(text)
	if rest != "" {
		fmt.Printf("%s.cu for %s:\n%s\n", s.name, target, rest)
	}
	what := "CUBIN"
	if strings.HasPrefix(target, "compute_") {
		what = "PTX"
	}
	code, err = c.get(program, what)
	return code, u, err
}

// get reads one of the results of a compilation.
func (c *compiler) get(program uintptr, what string) ([]byte, error) {
	var n uintptr
	if r := c.sizeOf[what](program, &n); r != 0 {
		return nil, c.failure("nvrtcGet"+what+"Size", r)
	}
	out := make([]byte, max(n, 1))
	if r := c.read[what](program, &out[0]); r != 0 {
		return nil, c.failure("nvrtcGet"+what, r)
	}
	return out[:n], nil
}

// cstring returns a pinned C string.
func cstring(pin *runtime.Pinner, s string) *byte {
	p := unsafe.SliceData(append([]byte(s), 0))
	pin.Pin(p)
	return p
}

// first returns the address of a pinned list, or nil if it is empty.
func first(pin *runtime.Pinner, list []*byte) **byte {
	if len(list) == 0 {
		return nil
	}
	pin.Pin(&list[0])
	return &list[0]
}
