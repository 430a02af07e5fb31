package godwit

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/ops"
)

// quantised are the types of caches in 8 bits, by their names in Options and
// reports.
var quantised = map[string]ops.CacheFormat{"int8": ops.INT8, "fp8": ops.FP8}

// checkCacheType refuses names that no cache can have.
func checkCacheType(name string) error {
	_, known := typeNamed(name)
	if _, small := quantised[name]; known || small || name == "" || name == autoType {
		return nil
	}
	return &Error{Class: ErrRequest, Err: fmt.Errorf("cache type %q, want auto, float32, bfloat16, float16, int8 or fp8", name)}
}

// checkCacheOn refuses a type that a device which computes in act does not
// store: of those with 16 or 32 bits it has the one that it computes in.
func checkCacheOn(name string, act ops.DType, because string) error {
	if t, known := typeNamed(name); !known || t == act {
		return nil
	}
	own := typeNames[act]
	return &Error{Class: ErrRequest, Err: fmt.Errorf("the model computes in %s, got cache type %s, want auto, %s, int8 or fp8%s", own, name, own, because)}
}

// cacheTypeName names the type of a cache's elements.
func cacheTypeName(f ops.CacheFormat, act ops.DType) string {
	for name, format := range quantised {
		if format == f {
			return name
		}
	}
	return typeNames[act]
}
