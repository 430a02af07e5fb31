package emulated

import (
	"fmt"
	"regexp"
	"strings"
)

// entry is a kernel as its source declares it.
type entry struct {
	name    string
	threads string // of __launch_bounds__, an expression; "": none
	cluster string // of __cluster_dims__
}

// rewrite turns preprocessed CUDA C++ into C++ and lists its kernels:
//
//	asm volatile("add.f32 %0, %1;" : "=f"(a) : "f"(b))   becomes   ptx::add_f32((a), (b));
//	__shared__ T a[8];                                   becomes   auto &a = *(T (*)[8])static_shared(…);
//	extern __shared__ T a[];                             becomes   static const DynamicShared<T, …> a;
//	__global__ void __launch_bounds__(128) k(…)          becomes   void k(…)
//
// Everything else that CUDA adds to C++ is in device/cuda.h. Lines stay where
// they are, so that the compiler's messages name the sources' own.
func rewrite(text string) (string, []entry, error) {
	text, err := rewriteAsm(text)
	if err != nil {
		return "", nil, err
	}
	if text, err = rewriteShared(text); err != nil {
		return "", nil, err
	}
	text, kernels, err := rewriteKernels(text)
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	b.WriteString(text)
	for _, k := range kernels {
		fmt.Fprintf(&b, "static emulated::Register emulated_kernel_%s(\"%s\", &%s, %s, %s);\n", k.name, k.name, k.name, orZero(k.threads), orZero(k.cluster))
	}
	return b.String(), kernels, nil
}

func orZero(expression string) string {
	if expression == "" {
		return "0"
	}
	return "(" + expression + ")"
}

// ---- kernels ----

var (
	globalWord = regexp.MustCompile(`\b__global__\b`)
	identifier = regexp.MustCompile(`^[A-Za-z_]\w*`)
)

// rewriteKernels takes the qualifiers of kernels out.
func rewriteKernels(text string) (string, []entry, error) {
	var b strings.Builder
	var kernels []entry
	for {
		at := globalWord.FindStringIndex(text)
		if at == nil {
			b.WriteString(text)
			return b.String(), kernels, nil
		}
		b.WriteString(text[:at[0]])
		text = text[at[1]:]
		k, declaration, rest, err := parseKernel(text)
		if err != nil {
			return "", nil, err
		}
		kernels = append(kernels, k)
		b.WriteString(declaration)
		text = rest
	}
}

// parseKernel reads from behind __global__ to the parameters.
func parseKernel(text string) (k entry, declaration, rest string, err error) {
	whole := text
	for {
		trimmed := strings.TrimLeft(text, " \t\n")
		declaration += text[:len(text)-len(trimmed)]
		text = trimmed
		word := identifier.FindString(text)
		if word == "" {
			return k, "", "", fmt.Errorf("no kernel behind __global__ in %.60q", whole)
		}
		text = text[len(word):]
		inside, after, called := parenthesised(text)
		switch {
		case word == "__launch_bounds__" && called:
			k.threads, text = splitTop(inside, ',')[0], after
		case word == "__cluster_dims__" && called:
			k.cluster, text = strings.Join(splitTop(inside, ','), ")*("), after
		case word == "__maxnreg__" && called:
			text = after
		case called:
			k.name = word
			return k, declaration + word, text, nil
		default:
			declaration += word
		}
	}
}

// parenthesised returns what stands inside the parentheses that text begins
// with, and what follows them.
func parenthesised(text string) (inside, after string, ok bool) {
	text = strings.TrimLeft(text, " \t\n")
	if !strings.HasPrefix(text, "(") {
		return "", "", false
	}
	end := matching(text)
	if end < 0 {
		return "", "", false
	}
	return text[1:end], text[end+1:], true
}

// matching returns where the parenthesis that text begins with is closed.
func matching(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipString(text, i)
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// skipString returns the place of the quotation mark that ends a string.
func skipString(text string, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

// splitTop splits at a separator outside of brackets and strings.
func splitTop(text string, separator byte) []string {
	var parts []string
	depth, from := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			i = skipString(text, i)
		case c == separator && depth == 0:
			parts = append(parts, strings.TrimSpace(text[from:i]))
			from = i + 1
		case strings.IndexByte("([{<", c) >= 0:
			depth++
		case strings.IndexByte(")]}>", c) >= 0:
			depth--
		}
	}
	return append(parts, strings.TrimSpace(text[from:]))
}

// ---- shared memory ----

var (
	sharedWord = regexp.MustCompile(`(\bextern\s+)?\b__shared__\s+(__attribute__\(\(aligned\((\d+)\)\)\)\s*)?([^;]*);`)
	declarator = regexp.MustCompile(`^((?s:.*)[\s>])?(\w+)((?:\s*\[[^\]]*\])*)$`)
)

// rewriteShared makes static shared variables references to where the runtime
// puts them in the memory of the block that runs, and dynamic ones objects that
// convert to its address.
func rewriteShared(text string) (string, error) {
	var failed error
	text = sharedWord.ReplaceAllStringFunc(text, func(s string) string {
		m := sharedWord.FindStringSubmatch(s)
		var b strings.Builder
		kind := ""
		for _, d := range splitTop(m[4], ',') {
			parts := declarator.FindStringSubmatch(d)
			if parts == nil || (kind == "" && parts[1] == "") {
				failed = fmt.Errorf("cannot read %q", s)
				return s
			}
			if kind == "" {
				kind = strings.TrimSpace(parts[1])
			}
			align := "alignof(" + kind + ")"
			if m[3] != "" {
				align = m[3]
			}
			name, size := parts[2], parts[3]
			if m[1] != "" {
				fmt.Fprintf(&b, "static const emulated::DynamicShared<%s, %s> %s; ", kind, align, name)
				continue
			}
			fmt.Fprintf(&b, "static emulated::Variable %s_variable = {sizeof(%s %s), %s, 0}; ", name, kind, size, align)
			fmt.Fprintf(&b, "auto &%s = *(emulated::Same<%s %s> *)emulated::static_shared(&%s_variable); ", name, kind, size, name)
		}
		return b.String() + strings.Repeat("\n", strings.Count(s, "\n"))
	})
	return text, failed
}
