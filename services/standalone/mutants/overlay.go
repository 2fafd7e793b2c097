package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files are the changed files of a mutant, by their path from the root. The
// error names an edit whose text is not there exactly once, and the mend.
func (m *Mutant) Files(root string) (map[string]string, error) {
	files := make(map[string]string)
	for i, e := range m.Edits {
		text, read := files[e.File]
		if !read {
			raw, err := os.ReadFile(filepath.Join(root, e.File))
			if err != nil {
				return nil, fmt.Errorf("mutant %s: %w; name the file that has the code now, in %s", m.Name, err, ListFile)
			}
			text = string(raw)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return nil, fmt.Errorf("mutant %s: the text of edit %d occurs %d times in %s, not once:\n%s\n"+
				"the code has changed; write the same defect against the new code, in %s",
				m.Name, i+1, n, e.File, e.Old, ListFile)
		}
		files[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return files, nil
}

// overlay writes the changed files and what the go command's -overlay wants to know about them.
func (m *Mutant) overlay(root, dir string) (string, error) {
	files, err := m.Files(root)
	if err != nil {
		return "", err
	}
	replace := make(map[string]string, len(files))
	for path, text := range files {
		changed := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("writing mutant %s: %w", m.Name, err)
		}
		replace[filepath.Join(root, path)] = changed
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("encoding an overlay: %w", err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, encoded, 0o600); err != nil {
		return "", fmt.Errorf("writing mutant %s: %w", m.Name, err)
	}
	return path, nil
}
