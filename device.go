package godwit

import (
	"strconv"
	"strings"
)

// cutDevice splits "cuda:1" into kind and number. Kind is "" where the name
// has no meaning.
func cutDevice(name string) (kind string, number int, ok bool) {
	kind, index, numbered := strings.Cut(name, ":")
	switch {
	case name == "" || name == "auto":
		return "auto", 0, true
	case name == "cpu":
		return "cpu", 0, true
	case kind != "cuda":
		return "", 0, false
	case !numbered:
		return "cuda", 0, true
	}
	n, err := strconv.Atoi(index)
	if err != nil || n < 0 {
		return "", 0, false
	}
	return "cuda", n, true
}
