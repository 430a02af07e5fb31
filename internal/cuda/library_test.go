package cuda_test

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
)

// matching returns a search among files by shell patterns; on Windows' paths
// too, whose separators it turns round.
func matching(files ...string) func(string) []string {
	return func(pattern string) []string {
		var found []string
		for _, f := range files {
			ok, _ := path.Match(strings.ReplaceAll(pattern, `\`, "/"), strings.ReplaceAll(f, `\`, "/"))
			if ok {
				found = append(found, f)
			}
		}
		return found
	}
}

func TestCandidates(t *testing.T) {
	for _, tt := range []struct {
		name, goos, library string
		driver              cuda.Version
		dirs, files, want   []string
	}{
		{name: "driver on Linux", goos: "linux", library: "driver", want: []string{"libcuda.so.1"}},
		{name: "driver on Windows", goos: "windows", library: "driver", want: []string{"nvcuda.dll"}},
		{
			name: "driver under WSL", goos: "linux", library: "driver",
			files: []string{"/usr/lib/wsl/lib/libcuda.so.1"},
			want:  []string{"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"},
		},
		{name: "NVML on Windows", goos: "windows", library: "nvml", want: []string{"nvml.dll"}},
		{
			name: "an old driver wants 12 only", goos: "linux", library: "blaslt", driver: 12040,
			files: []string{"/usr/local/cuda-13.0/lib64/libcublasLt.so.13", "/usr/local/cuda-12.4/lib64/libcublasLt.so.12"},
			want:  []string{"libcublasLt.so.12", "/usr/local/cuda-12.4/lib64/libcublasLt.so.12"},
		},
		{
			name: "toolkit and environment before the loader", goos: "linux", library: "blaslt", driver: 13000,
			dirs: []string{"/opt/tk", "", "/venv/site-packages"},
			files: []string{
				"/opt/tk/lib64/libcublasLt.so.12", "/venv/site-packages/nvidia/cu13/lib/libcublasLt.so.13",
				"/venv/site-packages/nvidia/cublas/lib/libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.13",
			},
			want: []string{
				"/opt/tk/lib64/libcublasLt.so.12", "/venv/site-packages/nvidia/cu13/lib/libcublasLt.so.13",
				"/venv/site-packages/nvidia/cublas/lib/libcublasLt.so.12",
				"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.13",
			},
		},
		{
			name: "Windows", goos: "windows", library: "blaslt", driver: 13000, dirs: []string{`D:\cuda`, `D:\site-packages`},
			files: []string{
				`D:\cuda\bin\x64\cublasLt64_13.dll`, `D:\site-packages\nvidia\cublas\bin\cublasLt64_12.dll`,
				`C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v12.8\bin\cublasLt64_12.dll`,
			},
			want: []string{
				`D:\cuda\bin\x64\cublasLt64_13.dll`, `D:\site-packages\nvidia\cublas\bin\cublasLt64_12.dll`,
				"cublasLt64_13.dll", "cublasLt64_12.dll",
				`C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v12.8\bin\cublasLt64_12.dll`,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := cuda.Candidates(tt.goos, tt.library, tt.driver, tt.dirs, matching(tt.files...))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestSystemLoader has the system's own loader open a file that is no library:
// the message says what is wrong with it.
func TestSystemLoader(t *testing.T) {
	name := "libcublasLt.so.12"
	if runtime.GOOS == "windows" {
		name = "cublasLt64_12.dll"
	}
	dir := t.TempDir()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte("not a library"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := cuda.LoadBLASLt(cuda.Options{Dirs: []string{dir}}, 12000)
	if err == nil {
		t.Skip("this machine has a good one elsewhere")
	}
	var e *cuda.LibraryError
	if !errors.As(err, &e) || e.Library != "cuBLASLt" || e.Tried[0] != file || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want a LibraryError about %s", err, file)
	}
}

// TestManyPlaces keeps the message short where much was tried.
func TestManyPlaces(t *testing.T) {
	err := &cuda.LibraryError{Library: "X", Tried: []string{"a", "b", "c", "d", "e"}, Cause: "broken"}
	if text := err.Error(); text != "cuda: no X: tried a, b, c and 2 more places (broken)" {
		t.Error(text)
	}
}
