package safetensors

import "fmt"

// DType is the element type of a tensor. The zero value is no type.
type DType uint8

// The types of the format, in its order of growing alignment, by which Write
// sorts tensors.
const (
	BOOL    DType = iota + 1
	F4            // two to a byte
	F6_E2M3       // four to three bytes
	F6_E3M2       // four to three bytes
	U8
	I8
	F8_E5M2
	F8_E4M3 // finite, no infinities ("fn")
	F8_E8M0 // a power of two, as a block scale
	F8_E4M3FNUZ
	F8_E5M2FNUZ
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64 // two F32
	F64
	I64
	U64
)

var dtypes = [...]struct {
	name string
	bits int
}{
	BOOL: {"BOOL", 8}, F4: {"F4", 4}, F6_E2M3: {"F6_E2M3", 6}, F6_E3M2: {"F6_E3M2", 6},
	U8: {"U8", 8}, I8: {"I8", 8},
	F8_E5M2: {"F8_E5M2", 8}, F8_E4M3: {"F8_E4M3", 8}, F8_E8M0: {"F8_E8M0", 8},
	F8_E4M3FNUZ: {"F8_E4M3FNUZ", 8}, F8_E5M2FNUZ: {"F8_E5M2FNUZ", 8},
	I16: {"I16", 16}, U16: {"U16", 16}, F16: {"F16", 16}, BF16: {"BF16", 16},
	I32: {"I32", 32}, U32: {"U32", 32}, F32: {"F32", 32},
	C64: {"C64", 64}, F64: {"F64", 64}, I64: {"I64", 64}, U64: {"U64", 64},
}

// parseDType returns 0 for a name that the format does not define.
func parseDType(name string) DType {
	for d := BOOL; d <= U64; d++ {
		if dtypes[d].name == name {
			return d
		}
	}
	return 0
}

// String returns the name that files use, as "BF16".
func (d DType) String() string {
	if d < BOOL || d > U64 {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Bits returns the size of an element in bits, 0 if d is no type.
func (d DType) Bits() int {
	if d > U64 {
		return 0
	}
	return dtypes[d].bits
}

// Size returns the size of an element in bytes, 0 for the types below a byte:
// F4, F6_E2M3 and F6_E3M2.
func (d DType) Size() int { return d.Bits() / 8 }
