package torchfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-llm/godwit/internal/pickle"
)

const maxPickle = 64 << 20 // bytes; a hundred thousand tensors have a quarter of it

// archive is a zip file of today's format: data.pkl with the dictionary, and
// data/KEY with the bytes of each storage.
type archive struct {
	data  []byte
	root  string // of the names, with the slash
	files map[string]*zip.File
	known map[string]*storage
}

func parseZip(data []byte) ([]Tensor, error) {
	a, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	if err := a.checkForm(); err != nil {
		return nil, err
	}
	program, err := a.content("data.pkl")
	if err != nil {
		return nil, err
	}
	if len(program) > maxPickle {
		return nil, fmt.Errorf("data.pkl has %d bytes, want at most %d", len(program), maxPickle)
	}
	value, _, err := pickle.Machine{Global: global, Persistent: a.storage}.Load(program)
	if err != nil {
		return nil, err
	}
	return flatten(value)
}

func openArchive(data []byte) (*archive, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%w; the download may be incomplete", err)
	}
	a := &archive{data: data, files: map[string]*zip.File{}, known: map[string]*storage{}}
	roots := 0
	for _, f := range z.File {
		if a.files[f.Name] != nil {
			return nil, fmt.Errorf("the archive has %.100q twice", f.Name)
		}
		a.files[f.Name] = f
		if root, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && strings.Count(f.Name, "/") == 1 && root != "" {
			a.root = root
			roots++
		}
	}
	if roots != 1 {
		return nil, fmt.Errorf("the archive has %d files data.pkl, want one: this is no checkpoint of PyTorch", roots)
	}
	return a, nil
}

// checkForm refuses programs, and numbers whose bytes are the other way round.
func (a *archive) checkForm() error {
	if a.files[a.root+"constants.pkl"] != nil {
		return errors.New("this is a TorchScript program, want a dictionary of tensors")
	}
	if a.files[a.root+"byteorder"] == nil {
		return nil // PyTorch before 2.1
	}
	order, err := a.content("byteorder")
	if err == nil && string(order) != "little" {
		return fmt.Errorf("the byte order is %.20q, want little", order)
	}
	return err
}

// content returns the bytes of a file in the archive where they lie.
func (a *archive) content(name string) ([]byte, error) {
	f := a.files[a.root+name]
	if f == nil {
		return nil, fmt.Errorf("the archive lacks %.100q", name)
	}
	if f.Method != zip.Store {
		return nil, fmt.Errorf("%.100q is compressed, want it as torch.save writes it; load and save the file with PyTorch", name)
	}
	at, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("%.100q: %w", name, err)
	}
	size := f.UncompressedSize64
	if at < 0 || size > uint64(len(a.data)) || uint64(at) > uint64(len(a.data))-size {
		return nil, fmt.Errorf("%.100q ends behind the end of the file; the download may be incomplete", name)
	}
	return a.data[at : at+int64(size)], nil
}

// storage returns the storage that a reference of the pickle means.
func (a *archive) storage(id any) (any, error) {
	s, err := parseID(id)
	if err != nil {
		return nil, err
	}
	if old := a.known[s.key]; old != nil {
		if old.size != s.size || old.kind != s.kind {
			return nil, fmt.Errorf("storage %.100q is once %d bytes of %s and once %d of %s", s.key, old.size, old.kind.name, s.size, s.kind.name)
		}
		return old, nil
	}
	data, err := a.content("data/" + s.key)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) < s.size {
		return nil, fmt.Errorf("storage %.100q has %d bytes, want %d", s.key, len(data), s.size)
	}
	s.data = data[:s.size:s.size]
	a.known[s.key] = s
	return s, nil
}
