package main

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// imports says which of our packages each of our packages may use. Arrows
// point down only: what is not here is not allowed.
var imports = map[string][]string{
	"srs":               {"srs/rtmp/server", "srs/rtmp/live", "srs/dvr", "srs/dvr/cli", "srs/hook", "srs/hook/cli", "srs/hook/receiver", "srs/conf", "srs/conf/tank", "srs/conf/pidfile"},
	"srs/rtmp/server":   {"srs/rtmp", "srs/rtmp/chunk", "srs/rtmp/live", "srs/amf0", "srs/flv", "srs/hook", "srs/conf"},
	"srs/dvr":           {"srs/rtmp/live", "srs/flv", "srs/hook", "srs/conf"},
	"srs/dvr/cli":       {"srs/dvr", "srs/flv"},
	"srs/hook/receiver": {"srs/hook"},
	"srs/hook/cli":      {"srs/hook", "srs/rtmp", "srs/conf"},
	"srs/bench":         {"srs/rtmp", "srs/rtmp/chunk", "srs/flv", "srs/amf0"},
	"srs/bench/e2e":     {},
	"srs/rtmp":          {"srs/rtmp/chunk", "srs/flv", "srs/amf0"},
	"srs/rtmp/live":     {"srs/rtmp/chunk", "srs/flv"},
	"srs/flv":           {"srs/amf0"},
	"srs/amf0":          {},
	"srs/rtmp/chunk":    {},
	"srs/conf":          {},
	"srs/conf/tank":     {},
	"srs/conf/pidfile":  {},
	"srs/hook":          {"srs/hook/journal"},
	"srs/hook/journal":  {},
}

// testImports are what tests may use besides: real parts instead of mocks.
var testImports = map[string][]string{
	"srs/bench/e2e": {"srs/rtmp", "srs/rtmp/chunk", "srs/flv", "srs/amf0", "srs/conf"},
	"srs/bench":     {"srs/rtmp/chunk"},
	"srs/dvr":       {"srs/amf0"},
}

// topLevel is all that may stand beside the module's root.
var topLevel = []string{
	"main.go", "main_check.go", "main_counters.go", "main_counters_test.go", "main_profile.go", "rtmp", "amf0", "flv", "hook", "dvr", "conf", "bench", "go.mod", "go.sum", "Makefile", "README.md",
	"LICENSE", "CHANGELOG.md", "arch_test.go", ".ci", ".gitignore",
	".git", "srs", "objs", // not in the repository
}

// dependencies are all modules the project may require.
var dependencies = []string{"golang.org/x/sys"}

// source is one Go file of the project.
type goFile struct {
	path string // from the root
	pkg  string // import path of its folder
	text []byte
	ast  *ast.File
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "objs") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := "srs"
		if dir := filepath.Dir(path); dir != "." {
			pkg += "/" + filepath.ToSlash(dir)
		}
		files = append(files, goFile{path: path, pkg: pkg, text: text, ast: f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

func TestImportsPointDown(t *testing.T) {
	used := map[string]map[string]bool{}
	for _, f := range goFiles(t) {
		allowed, known := imports[f.pkg]
		if !known {
			t.Errorf("%s: package %s is not in the table of imports", f.path, f.pkg)
			continue
		}
		test := strings.HasSuffix(f.path, "_test.go")
		for _, spec := range f.ast.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			first, _, _ := strings.Cut(path, "/")
			switch {
			case first == "srs":
				if !test {
					if used[f.pkg] == nil {
						used[f.pkg] = map[string]bool{}
					}
					used[f.pkg][path] = true
				}
				if !slices.Contains(allowed, path) && !(test && (path == f.pkg || slices.Contains(testImports[f.pkg], path))) {
					t.Errorf("%s imports %s, which the table does not allow", f.path, path)
				}
			case strings.Contains(first, ".") && !slices.ContainsFunc(dependencies, func(d string) bool {
				return path == d || strings.HasPrefix(path, d+"/")
			}):
				t.Errorf("%s imports %s, which is not in the list of dependencies", f.path, path)
			}
		}
	}
	for pkg, list := range imports {
		for _, path := range list {
			if !used[pkg][path] {
				t.Errorf("the table lets %s import %s, and it does not", pkg, path)
			}
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	docs := map[string]int{}
	for _, f := range goFiles(t) {
		if _, ok := docs[f.pkg]; !ok {
			docs[f.pkg] = 0
		}
		if f.ast.Doc != nil && !strings.HasSuffix(f.path, "_test.go") {
			docs[f.pkg]++
		}
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d package comments, must have one", pkg, n)
		}
	}
}

func TestGofmt(t *testing.T) {
	for _, f := range goFiles(t) {
		want, err := format.Source(f.text)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
		} else if !bytes.Equal(want, f.text) {
			t.Errorf("%s is not gofmt-clean", f.path)
		}
	}
}

// Files that grow beyond this are a sign that a room is crowded.
const maxLines = 500

func TestFilesStaySmall(t *testing.T) {
	for _, f := range goFiles(t) {
		if n := bytes.Count(f.text, []byte("\n")); n > maxLines && !strings.HasSuffix(f.path, "_test.go") {
			t.Errorf("%s has %d lines, more than %d", f.path, n, maxLines)
		}
	}
}

func TestNothingIsSkipped(t *testing.T) {
	for _, f := range goFiles(t) {
		if !strings.HasSuffix(f.path, "_test.go") || f.pkg == "srs" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			s, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on, _ := s.X.(*ast.Ident)
			switch s.Sel.Name {
			case "Skip", "Skipf", "SkipNow":
				if on != nil && slices.Contains([]string{"t", "b", "f", "tb"}, on.Name) {
					t.Errorf("%s: a test that cannot run must fail, not be skipped", f.path)
				}
			}
			return true
		})
	}
}

func TestDependencies(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(words) >= 2 && strings.Contains(words[0], ".") && !slices.Contains(dependencies, words[0]) {
			t.Errorf("go.mod requires %s", words[0])
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s stands at the top level, where only the fixed list may", e.Name())
		}
	}
}
