package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/safetensors"
)

// asPyTorch writes a safetensors file as torch.save would write it.
func asPyTorch(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.Parse(path, data)
	if err != nil {
		t.Fatal(err)
	}
	var file, program bytes.Buffer
	z := zip.NewWriter(&file)
	add := func(name string, data []byte) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	program.WriteString("\x80\x02ccollections\nOrderedDict\n)R(")
	for i, x := range c.Tensors() {
		pickleTensor(&program, x, fmt.Sprint(i))
		add(fmt.Sprintf("data/%d", i), x.Bytes())
	}
	program.WriteString("u.")
	add("data.pkl", program.Bytes())
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// pickleTensor writes a name and a call of _rebuild_tensor_v2.
func pickleTensor(w *bytes.Buffer, x safetensors.Tensor, key string) {
	text := func(s string) { fmt.Fprintf(w, "X%s%s", binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s) }
	number := func(n int) { fmt.Fprintf(w, "J%s", binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	text(x.Name)
	w.WriteString("ctorch._utils\n_rebuild_tensor_v2\n((")
	text("storage")
	class := map[safetensors.DType]string{safetensors.F32: "Float", safetensors.F16: "Half", safetensors.BF16: "BFloat16"}[x.DType]
	w.WriteString("ctorch\n" + class + "Storage\n")
	text(key)
	text("cpu")
	number(int(x.Len()) / x.DType.Size())
	w.WriteString("tQK\x00(")
	for _, d := range x.Shape {
		number(d)
	}
	w.WriteString("t(")
	for i := range x.Shape {
		stride := 1
		for _, d := range x.Shape[i+1:] {
			stride *= d
		}
		number(stride)
	}
	w.WriteString("t\x89ccollections\nOrderedDict\n)RtR")
}

// TestConvert takes a model of the hub that has pytorch_model.bin only from its
// name to the same text as the original.
func TestConvert(t *testing.T) {
	h, _ := startHub(t)
	files := dirFiles(t, "../../testdata/tiny-dense")
	delete(files, "model.safetensors")
	files["pytorch_model.bin"] = asPyTorch(t, "../../testdata/tiny-dense/model.safetensors")
	h.Add("org/old", files)
	generate := func(model string) string {
		status, out, errOut := command(t, "run", "--device", "cpu", "--temperature", "0", "--max-tokens", "8", "--model", model, "Once")
		want(t, status, 0, errOut, "ended by")
		return out
	}
	status, out, errOut := command(t, "convert", "--shard-size", "2MB", "org/old")
	want(t, status, 0, errOut, " tensors, 7.1 MB in 4 files\n")
	dir := strings.TrimSpace(out)
	if !strings.Contains(dir, filepath.Join("models--org--old", "snapshots")) {
		t.Errorf("got the directory %q, want one of the cache", dir)
	}
	if got, want := generate("org/old"), generate("../../testdata/tiny-dense"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	status, _, errOut = command(t, "convert", "org/old")
	want(t, status, 1, errOut, "holds model-00001-of-00004.safetensors already; --force replaces it")
	new := filepath.Join(t.TempDir(), "new")
	status, out, errOut = command(t, "convert", "--out", new, dir)
	want(t, status, 0, errOut, "in model.safetensors")
	if out != new+"\n" {
		t.Errorf("got %q, want %s", out, new)
	}
	if got, want := generate(new), generate("org/old"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	status, _, errOut = command(t, "pull", "org/old")
	if want(t, status, 0, errOut, "up to date"); strings.Contains(errOut, "convert") {
		t.Errorf("still asks to be converted: %q", errOut)
	}
}

// TestConvertUsage refuses what makes no sense.
func TestConvertUsage(t *testing.T) {
	startHub(t)
	for args, text := range map[string]string{
		"convert":                    "convert wants one directory or name",
		"convert a b":                "convert wants one directory or name",
		"convert --shard-size big .": `--shard-size: got "big", want a size such as 500MB or 5GB`,
		"convert --shard-size 0 .":   `--shard-size: got "0"`,
		"convert --shard-size -1G .": `--shard-size: got "-1G"`,
		"convert --frobnicate .":     "unknown flag",
	} {
		status, _, errOut := command(t, strings.Fields(args)...)
		want(t, status, 2, errOut, text)
	}
	status, _, errOut := command(t, "convert", "nowhere")
	want(t, status, 1, errOut, "convert: open nowhere: ")
	status, _, errOut = command(t, "convert", "../../testdata/tiny-dense")
	want(t, status, 1, errOut, "holds model.safetensors: there is nothing to convert")
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"5GB": 5e9, "1.5 mb": 1.5e6, "4GiB": 4 << 30, "7": 7, "7B": 7, "2kb": 2000} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GB", "-1", "0", "0.5", "1e30GB", "NaN", "inf", "5 TB", "5G"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}
