package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/safetensors"
)

// golden returns what PyTorch reads in testdata/NAME.bin.
func golden(t *testing.T, name string) *safetensors.Checkpoint {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGoldens reads files that PyTorch has written, and finds the same bits.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bin")
	if err != nil || len(files) < 10 {
		t.Fatalf("got %d files (%v), want more", len(files), err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".bin")
		if name == "nested" {
			continue
		}
		f, err := Open(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := golden(t, name)
		if len(f.Tensors) != len(want.Tensors()) {
			t.Errorf("%s: got %d tensors, want %d", name, len(f.Tensors), len(want.Tensors()))
		}
		for _, got := range f.Tensors {
			sameTensor(t, name, got, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func sameTensor(t *testing.T, file string, got Tensor, all *safetensors.Checkpoint) {
	t.Helper()
	want, ok := all.Lookup(got.Name)
	if !ok {
		t.Errorf("%s: %s is not in what PyTorch reads", file, got.Name)
		return
	}
	var data bytes.Buffer
	if err := got.WriteContents(&data); err != nil {
		t.Fatal(err)
	}
	if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || got.Len() != want.Len() || !bytes.Equal(data.Bytes(), want.Bytes()) {
		t.Errorf("%s: %s: got %v%v %x\nwant %v %x", file, got.Name, got.DType, got.Shape, data.Bytes(), want, want.Bytes())
	}
}

// TestSame finds tied weights, and does not take views for the same.
func TestSame(t *testing.T) {
	tied, err := Open("testdata/tied.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer tied.Close()
	if a, b, c := tied.Tensors[0], tied.Tensors[1], tied.Tensors[2]; !a.Same(b) || a.Same(c) {
		t.Errorf("%s and %s are the same, %s is another", a.Name, b.Name, c.Name)
	}
	views, err := Open("testdata/views.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer views.Close()
	for _, v := range views.Tensors[1:] {
		if v.Same(views.Tensors[0]) {
			t.Errorf("%s is not the same as %s", v.Name, views.Tensors[0].Name)
		}
	}
}

// TestLargeRows writes rows that are longer than what is written at once.
func TestLargeRows(t *testing.T) {
	data := make([]byte, 3*chunk+10)
	for i := range data {
		data[i] = byte(i * 7)
	}
	s := &storage{data: data, size: int64(len(data)), kind: untyped}
	for _, c := range []Tensor{
		{DType: safetensors.U8, Shape: []int{len(data)}, stride: []int{1}, storage: s},
		{DType: safetensors.U8, Shape: []int{2, chunk + 5}, stride: []int{chunk + 100, 1}, storage: s},
		{DType: safetensors.U8, Shape: []int{chunk + 5, 2}, stride: []int{2, 1}, offset: 3, storage: s},
		{DType: safetensors.U8, Shape: []int{3, chunk + 5}, stride: []int{1, 2}, offset: 3, storage: s},
		{DType: safetensors.U8, Shape: []int{chunk / 2, 5}, stride: []int{6, 1}, offset: 1, storage: s},
	} {
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := c.WriteContents(&got); err != nil {
			t.Fatal(err)
		}
		var want []byte
		for i := range c.Shape[0] {
			if len(c.Shape) == 1 {
				want = data
				break
			}
			for j := range c.Shape[1] {
				want = append(want, data[c.offset+i*c.stride[0]+j*c.stride[1]])
			}
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%v: the bytes differ", c.Shape)
		}
	}
}

// archiveOf returns a zip archive of a pickle and more files.
func archiveOf(t testing.TB, program string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name, text string) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if program != "" {
		add("m/data.pkl", program)
	}
	for name, text := range files {
		add(name, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The parts of a pickle of one tensor, "w", over storage "0".
const (
	begin = "\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n("
	ref   = "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ" // 4 elements
	tail  = "\x89ccollections\nOrderedDict\n)RtRs."
)

// TestRefused names what a file asks for that no tensor needs; nothing of it is
// run.
func TestRefused(t *testing.T) {
	sixteen := map[string]string{"m/data/0": strings.Repeat("\x00", 16)}
	long := "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"
	for name, c := range map[string]struct{ program, want string }{
		"os.system":       {"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.", `the file asks for "posix.system", which is no part of a tensor; it is refused, and none of the file's code was run`},
		"eval":            {"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", `the file asks for "builtins.eval"`},
		"getattr":         {"\x80\x02c__builtin__\ngetattr\n.", `"__builtin__.getattr"`},
		"numpy":           {"\x80\x02cnumpy.core.multiarray\nscalar\n.", `"numpy.core.multiarray.scalar"`},
		"a near name":     {"\x80\x02ctorch._utils\n_rebuild_qtensor\n.", `"torch._utils._rebuild_qtensor"`},
		"torch.load":      {"\x80\x02ctorch.storage\n_load_from_bytes\n.", `"torch.storage._load_from_bytes"`},
		"dotted":          {"\x80\x04\x8c\x05torch\x8c\x0fTensor.__init__\x93.", `"torch.Tensor.__init__"`},
		"dtype elsewhere": {"\x80\x02cos\nfloat32\n.", `"os.float32"`},
		"extension":       {"\x80\x02\x82\x01.", "the opcode EXT1 is not allowed"},
		"new object":      {"\x80\x02ctorch\nTensor\n)\x81.", "the opcode NEWOBJ is not allowed"},
		"instance":        {"\x80\x02(ios\nsystem\n.", "the opcode INST is not allowed"},
		"attributes":      {begin + ref + "K\x00K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR}bs.", "attributes of a object from a dict"},
		"call a class":    {"\x80\x02ctorch\nTensor\n)R.", "a call of a object"},
		"call a text":     {"\x80\x02X\x01\x00\x00\x00a)R.", "a call of a str"},
		"list":            {"\x80\x02].", "the file holds a list, want a dictionary of tensors"},
		"training":        {"\x80\x02}X\x05\x00\x00\x00epochK\x03s.", `"epoch" is a int, want a tensor; a checkpoint of a training has its model inside`},
		"number as name":  {"\x80\x02}K\x01Ns.", "got a int as a tensor's name, want a str"},

		"no storage":    {begin + "N" + "K\x00K\x02\x85K\x01\x85" + tail, "a tensor over a None, want a storage"},
		"too large":     {begin + ref + "K\x00K\x02K\x03\x86K\x03K\x01\x86" + tail, `tensor "w": shape [2 3] with strides [3 1] from element 0 needs 24 bytes of its storage, which has 16`},
		"behind":        {begin + ref + "K\x04K\x01\x85K\x01\x85" + tail, "from element 4 needs 20 bytes"},
		"before":        {begin + ref + "J\xff\xff\xff\xffK\x01\x85K\x01\x85" + tail, "the offset is -1"},
		"negative":      {begin + ref + "K\x00J\xff\xff\xff\xff\x85K\x01\x85" + tail, "want no negative numbers"},
		"backwards":     {begin + ref + "K\x03K\x02\x85J\xff\xff\xff\xff\x85" + tail, "want no negative numbers"},
		"huge":          {begin + ref + "K\x00" + long + long + "\x86K\x00K\x00\x86" + tail, "overflows"},
		"huge stride":   {begin + ref + "K\x00K\x03\x85" + long + "\x85" + tail, "overflows"},
		"huge offset":   {begin + ref + long + "K\x02\x85K\x01\x85" + tail, "overflows"},
		"dimensions":    {begin + ref + "K\x00K\x02K\x02\x86K\x01\x85" + tail, "2 dimensions and 1 strides"},
		"shape of text": {begin + ref + "K\x00X\x01\x00\x00\x00aK\x01\x85" + tail, "a tensor's shape: got a str, want a tuple"},
		"no such file":  {begin + strings.Replace(ref, "\x000X", "\x001X", 1) + "K\x00K\x02\x85K\x01\x85" + tail, `the archive lacks "data/1"`},
		"outside":       {begin + strings.Replace(ref, "X\x01\x00\x00\x000X", "X\x08\x00\x00\x00../../..X", 1) + "K\x00K\x02\x85K\x01\x85" + tail, `the archive lacks "data/../../.."`},
		"storage short": {begin + strings.Replace(ref, "K\x04", "K\x05", 1) + "K\x00K\x02\x85K\x01\x85" + tail, `storage "0" has 16 bytes, want 20`},
		"storage huge":  {begin + strings.Replace(ref, "K\x04", long, 1) + "K\x00K\x02\x85K\x01\x85" + tail, "a storage of 9223372036854775807 elements"},
	} {
		_, err := Parse("m.bin", archiveOf(t, c.program, sixteen))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "torchfile: m.bin: ") {
			t.Errorf("%s: got %v\nwant %s", name, err, c.want)
		}
	}
	good := begin + ref + "K\x00K\x02K\x02\x86K\x02K\x01\x86" + tail
	if tensors, err := Parse("m.bin", archiveOf(t, good, sixteen)); err != nil || len(tensors) != 1 {
		t.Errorf("got %v, %v, want one tensor: the parts of this test are wrong", tensors, err)
	}
}

// TestArchives refuses archives that are none of a state dictionary.
func TestArchives(t *testing.T) {
	const empty = "\x80\x02}."
	for want, data := range map[string][]byte{
		"the archive has 0 files data.pkl, want one":           archiveOf(t, "", map[string]string{"x": ""}),
		"the archive has 2 files data.pkl, want one":           archiveOf(t, empty, map[string]string{"n/data.pkl": empty}),
		"this is a TorchScript program":                        archiveOf(t, empty, map[string]string{"m/constants.pkl": ""}),
		`the byte order is "big", want little`:                 archiveOf(t, empty, map[string]string{"m/byteorder": "big"}),
		"not a valid zip file; the download may be incomplete": archiveOf(t, empty, nil)[:60],
		"the file is empty; the download may be incomplete":    nil,
		"this is a Git LFS pointer":                            []byte("version https://git-lfs.github.com/spec/v1\n"),
		"this is the tar format":                               append(make([]byte, 257), "ustar\x00rest"...),
		"the file begins with 3c21444f, want a zip archive":    []byte("<!DOCTYPE html>"),
	} {
		if _, err := Parse("m.bin", data); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, _ := z.Create("m/data.pkl") // compressed
	w.Write([]byte(empty))
	z.Close()
	if _, err := Parse("m.bin", b.Bytes()); err == nil || !strings.Contains(err.Error(), `"data.pkl" is compressed`) {
		t.Errorf("got %v, want the compression named", err)
	}
	if _, err := Open("testdata/nested.bin"); err == nil || !strings.Contains(err.Error(), `"state_dict" is a dict, want a tensor`) {
		t.Errorf("got %v, want the dictionary inside named", err)
	}
}

// TestLegacyBroken cuts a file of the old format at every byte.
func TestLegacyBroken(t *testing.T) {
	data, err := os.ReadFile("testdata/legacy.bin")
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if _, err := Parse("m.bin", data[:n]); !errors.Is(err, ErrInvalid) {
			t.Errorf("cut at %d of %d: got %v, want an error", n, len(data), err)
		}
	}
	wrong := bytes.Replace(data, []byte("little_endian"), []byte("little_endiam"), 1)
	if _, err := Parse("m.bin", wrong); err == nil || !strings.Contains(err.Error(), "byte order") {
		t.Errorf("got %v, want the byte order", err)
	}
	wrong = bytes.Replace(data, binary.LittleEndian.AppendUint64(nil, 48), binary.LittleEndian.AppendUint64(nil, 47), 1)
	if _, err := Parse("m.bin", wrong); err == nil || !strings.Contains(err.Error(), "has 47 elements, want 192 bytes") {
		t.Errorf("got %v, want the number of elements", err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.bin")
	for _, path := range files {
		if data, err := os.ReadFile(path); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkParsed(t, data) })
}

// FuzzProgram puts what it makes up where the pickle is in an archive.
func FuzzProgram(f *testing.F) {
	f.Add([]byte(begin + ref + "K\x00K\x02K\x02\x86K\x02K\x01\x86" + tail))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 0 {
			checkParsed(t, archiveOf(t, string(program), map[string]string{"m/data/0": "0123456789abcdef"}))
		}
	})
}

// checkParsed reads all tensors of what is accepted, unless they are large.
func checkParsed(t *testing.T, data []byte) {
	tensors, err := Parse("m", data)
	if err != nil {
		if !errors.Is(err, ErrInvalid) || len(err.Error()) > 2000 {
			t.Fatal(err)
		}
		return
	}
	for _, x := range tensors {
		if x.Len() > 1<<20 {
			continue
		}
		var b bytes.Buffer
		if err := x.WriteContents(&b); err != nil || int64(b.Len()) != x.Len() {
			t.Fatalf("%s: got %d bytes and %v, want %d", x.Name, b.Len(), err, x.Len())
		}
	}
}
