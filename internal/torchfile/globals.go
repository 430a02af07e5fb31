package torchfile

import (
	"errors"
	"fmt"
	"math"

	"github.com/godwit-llm/godwit/internal/pickle"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// elementType is one of PyTorch's types of numbers.
type elementType struct {
	name  string
	dtype safetensors.DType
}

// storageTypes are the classes of storages by which files name a type.
var storageTypes = map[string]elementType{
	"FloatStorage": {"float32", safetensors.F32}, "DoubleStorage": {"float64", safetensors.F64},
	"HalfStorage": {"float16", safetensors.F16}, "BFloat16Storage": {"bfloat16", safetensors.BF16},
	"LongStorage": {"int64", safetensors.I64}, "IntStorage": {"int32", safetensors.I32},
	"ShortStorage": {"int16", safetensors.I16}, "CharStorage": {"int8", safetensors.I8},
	"ByteStorage": {"uint8", safetensors.U8}, "BoolStorage": {"bool", safetensors.BOOL},
	"ComplexFloatStorage": {"complex64", safetensors.C64},
}

// elementTypes are the types that newer files name beside a storage of bytes.
var elementTypes = map[string]safetensors.DType{
	"float32": safetensors.F32, "float64": safetensors.F64, "float16": safetensors.F16, "bfloat16": safetensors.BF16,
	"int64": safetensors.I64, "int32": safetensors.I32, "int16": safetensors.I16, "int8": safetensors.I8, "uint8": safetensors.U8,
	"uint16": safetensors.U16, "uint32": safetensors.U32, "uint64": safetensors.U64, "bool": safetensors.BOOL, "complex64": safetensors.C64,
	"float8_e4m3fn": safetensors.F8_E4M3, "float8_e5m2": safetensors.F8_E5M2, "float8_e8m0fnu": safetensors.F8_E8M0,
	"float8_e4m3fnuz": safetensors.F8_E4M3FNUZ, "float8_e5m2fnuz": safetensors.F8_E5M2FNUZ,
}

// untyped is a storage that is bytes until a tensor says more.
var untyped = elementType{"uint8", safetensors.U8}

// class is a name of Python that is passed around but not called.
type class string

// functions are the names that may be called.
var functions = map[string]pickle.Function{
	"collections.OrderedDict":                    orderedDict,
	"torch.Size":                                 size,
	"torch._utils._rebuild_tensor":               rebuildTensor,
	"torch._utils._rebuild_tensor_v2":            rebuildTensor,
	"torch._utils._rebuild_tensor_v3":            rebuildTensorV3,
	"torch._utils._rebuild_parameter":            rebuildParameter,
	"torch._utils._rebuild_parameter_with_state": rebuildParameter,
	"torch._tensor._rebuild_from_type_v2":        rebuildFromType,
}

// global finds what a name in a file means. Everything that is not part of a
// tensor is refused.
func global(module, name string) (any, error) {
	full := module + "." + name
	if f, ok := functions[full]; ok {
		return f, nil
	}
	switch full {
	case "torch.storage.UntypedStorage":
		return untyped, nil
	case "torch.Tensor", "torch.nn.parameter.Parameter":
		return class(full), nil
	}
	if kind, ok := storageTypes[name]; ok && (module == "torch" || module == "torch.cuda") {
		return kind, nil
	}
	if dtype, ok := elementTypes[name]; ok && module == "torch" {
		return elementType{name, dtype}, nil
	}
	return nil, fmt.Errorf("the file asks for %.100q, which is no part of a tensor; it is refused, and none of the file's code was run", full)
}

func orderedDict(args pickle.Tuple) (any, error) {
	if len(args) > 0 {
		return nil, errors.New("OrderedDict with arguments, want none")
	}
	return &pickle.Dict{}, nil
}

func size(args pickle.Tuple) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("torch.Size with %d arguments, want one", len(args))
	}
	return args[0], nil
}

// rebuildTensor is _rebuild_tensor(storage, offset, size, stride), and
// _rebuild_tensor_v2 with (requires_grad, hooks, metadata) after that.
func rebuildTensor(args pickle.Tuple) (any, error) {
	if len(args) < 4 || len(args) > 7 {
		return nil, fmt.Errorf("a tensor of %d arguments, want 4 to 7", len(args))
	}
	if len(args) == 7 {
		if err := checkMetadata(args[6]); err != nil {
			return nil, err
		}
	}
	return newTensor(args, nil)
}

// rebuildTensorV3 is _rebuild_tensor_v3(storage, offset, size, stride,
// requires_grad, hooks, dtype, metadata).
func rebuildTensorV3(args pickle.Tuple) (any, error) {
	if len(args) < 7 || len(args) > 8 {
		return nil, fmt.Errorf("a tensor of %d arguments, want 7 or 8", len(args))
	}
	if len(args) == 8 {
		if err := checkMetadata(args[7]); err != nil {
			return nil, err
		}
	}
	kind, ok := args[6].(elementType)
	if !ok {
		return nil, fmt.Errorf("a tensor whose type is a %s", typeName(args[6]))
	}
	return newTensor(args, &kind)
}

// checkMetadata refuses what would change the meaning of the bytes, such as
// tensors that are conjugated when they are read.
func checkMetadata(v any) error {
	dict, ok := v.(*pickle.Dict)
	if v == nil || ok && len(dict.Pairs) == 0 {
		return nil
	}
	return errors.New("a tensor with metadata, want none")
}

func newTensor(args pickle.Tuple, kind *elementType) (any, error) {
	s, ok := args[0].(*storage)
	if !ok {
		return nil, fmt.Errorf("a tensor over a %s, want a storage", typeName(args[0]))
	}
	if kind == nil {
		kind = &s.kind
	}
	offset, err := number(args[1])
	if err != nil {
		return nil, fmt.Errorf("a tensor's offset: %w", err)
	}
	shape, err := numbers(args[2])
	if err != nil {
		return nil, fmt.Errorf("a tensor's shape: %w", err)
	}
	stride, err := numbers(args[3])
	if err != nil {
		return nil, fmt.Errorf("a tensor's strides: %w", err)
	}
	return &Tensor{DType: kind.dtype, Shape: shape, stride: stride, offset: offset, storage: s}, nil
}

func number(v any) (int, error) {
	n, ok := v.(int64)
	if !ok || n > math.MaxInt || n < math.MinInt {
		return 0, fmt.Errorf("got a %s, want a whole number", typeName(v))
	}
	return int(n), nil
}

func numbers(v any) ([]int, error) {
	tuple, ok := v.(pickle.Tuple)
	if !ok {
		return nil, fmt.Errorf("got a %s, want a tuple", typeName(v))
	}
	if len(tuple) > 64 {
		return nil, fmt.Errorf("got %d dimensions, want at most 64", len(tuple))
	}
	list := make([]int, len(tuple))
	for i, v := range tuple {
		n, err := number(v)
		if err != nil {
			return nil, err
		}
		list[i] = n
	}
	return list, nil
}

// rebuildParameter is _rebuild_parameter(data, requires_grad, hooks), and with
// a state the same: a parameter is a tensor that is trained.
func rebuildParameter(args pickle.Tuple) (any, error) {
	if len(args) < 3 || len(args) > 4 {
		return nil, fmt.Errorf("a parameter of %d arguments, want 3 or 4", len(args))
	}
	t, ok := args[0].(*Tensor)
	if !ok {
		return nil, fmt.Errorf("a parameter over a %s, want a tensor", typeName(args[0]))
	}
	return t, nil
}

// rebuildFromType is _rebuild_from_type_v2(function, type, args, state), for
// tensors with attributes of their own.
func rebuildFromType(args pickle.Tuple) (any, error) {
	if len(args) != 4 {
		return nil, fmt.Errorf("a tensor of a type with %d arguments, want 4", len(args))
	}
	function, ok1 := args[0].(pickle.Function)
	_, ok2 := args[1].(class)
	inner, ok3 := args[2].(pickle.Tuple)
	if !ok1 || !ok2 || !ok3 {
		return nil, fmt.Errorf("a tensor made by a %s, of type %s, from a %s", typeName(args[0]), typeName(args[1]), typeName(args[2]))
	}
	v, err := function(inner)
	if _, ok := v.(*Tensor); err == nil && !ok {
		return nil, fmt.Errorf("a tensor that is a %s", typeName(v))
	}
	return v, err
}

// parseID reads ("storage", type, key, location, length) by which a pickle
// refers to a storage; older files have a view after that.
func parseID(id any) (*storage, error) {
	tuple, ok := id.(pickle.Tuple)
	if !ok || len(tuple) < 5 || len(tuple) > 6 || tuple[0] != "storage" {
		return nil, fmt.Errorf("a reference that is a %s, want one to a storage", typeName(id))
	}
	if len(tuple) == 6 && tuple[5] != nil {
		return nil, errors.New("a view of a storage, as PyTorch before 0.4 writes them; load and save the file with a newer PyTorch")
	}
	kind, ok1 := tuple[1].(elementType)
	key, ok2 := tuple[2].(string)
	length, err := number(tuple[4])
	if !ok1 || !ok2 || err != nil || length < 0 {
		return nil, fmt.Errorf("a storage of %s, with a key that is a %s and %v elements", typeName(tuple[1]), typeName(tuple[2]), tuple[4])
	}
	width := kind.dtype.Size()
	if length > 1<<55/width {
		return nil, fmt.Errorf("a storage of %d elements", length)
	}
	return &storage{key: key, kind: kind, size: int64(length) * int64(width)}, nil
}
