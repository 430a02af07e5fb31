//go:build linux

// Command kernels compiles the CUDA sources of internal/kernels ahead of time
// and prints the registers and the spills of every kernel. See build.sh, which
// fetches the compiler, and docs/KERNELS.md.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Targets of the embedded images: native code for each generation, and PTX for
// those in between and beyond.
var targets = []string{"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120", "compute_75"}

// Options that every source is compiled with.
var options = []string{
	"--std=c++17",
	"--device-as-default-execution-space",
	"--ptxas-options=-v",
}

type config struct {
	sources  string // folder of the sources
	images   string // folder of the results
	targets  []string
	all      bool
	quiet    bool
	compiler *compiler
	mu       sync.Mutex // of the output
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("kernels: ")
	var c config
	lib := flag.String("nvrtc", "libnvrtc.so.12", "the `library` of the compiler")
	include := flag.String("include", "", "`folder` of the CUDA headers")
	only := flag.String("targets", strings.Join(targets, ","), "comma-separated `architectures`; with some left out, images are not recorded as complete")
	flag.StringVar(&c.sources, "src", "internal/kernels", "`folder` of the sources")
	flag.StringVar(&c.images, "out", "", "`folder` of the images; empty: images, inside the sources")
	flag.BoolVar(&c.all, "all", false, "compile what is up to date as well")
	flag.BoolVar(&c.quiet, "q", false, "print no table of registers")
	jobs := flag.Int("j", 2, "compile this many at a time")
	flag.Parse()
	c.targets = strings.Split(*only, ",")
	if c.images == "" {
		c.images = filepath.Join(c.sources, "images")
	}
	var err error
	if c.compiler, err = openCompiler(*lib, *include); err != nil {
		log.Fatal(err)
	}
	if err := c.run(flag.Args(), *jobs); err != nil {
		log.Fatal(err)
	}
}

// run compiles the named sources, or all that are out of date.
func (c *config) run(names []string, jobs int) error {
	files, err := filepath.Glob(filepath.Join(c.sources, "*.cu"))
	if err != nil {
		return err
	}
	var failed sync.Once
	var first error
	limit := make(chan struct{}, jobs)
	var group sync.WaitGroup
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".cu")
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		limit <- struct{}{}
		group.Go(func() {
			defer func() { <-limit }()
			if err := c.build(name); err != nil {
				failed.Do(func() { first = err })
			}
		})
	}
	group.Wait()
	return first
}

// build compiles one source for every target, unless its images are up to date.
func (c *config) build(name string) error {
	s, err := readSource(c.sources, name)
	if err != nil {
		return err
	}
	m := s.manifest(c.compiler.version)
	complete := slices.Equal(c.targets, targets)
	if !c.all && complete && m.recorded(c.images) {
		return nil
	}
	start := time.Now()
	if err := os.MkdirAll(c.images, 0o755); err != nil {
		return err
	}
	var report strings.Builder
	for _, target := range c.targets {
		code, usage, err := c.compiler.compile(s, target)
		if err != nil {
			return err
		}
		if err := writeImage(filepath.Join(c.images, name+"."+target+".gz"), code); err != nil {
			return err
		}
		m.add(usage)
		usage.print(&report, target)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Printf("%s: %d targets, %.1f s\n", name, len(c.targets), time.Since(start).Seconds())
	if !c.quiet {
		fmt.Print(report.String())
	}
	if !complete {
		return nil
	}
	return m.write(c.images)
}
