package pgserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// account is the unprivileged user who runs the server. A nil account means: the user we are.
type account struct {
	gid  int
	name string
	uid  int
}

// serverAccount chooses who runs the server. Only root has a choice to make; an existing cluster's owner wins, so that
// `sudo` in between does not take a developer's data away from him.
func serverAccount(cluster string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if uid, gid, err := ownerOf(cluster); err == nil && uid != 0 {
		return &account{gid: gid, name: userName(uid), uid: uid}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.Atoi(u.Uid)
		gid, gerr := strconv.Atoi(u.Gid)
		if uerr != nil || gerr != nil || uid == 0 {
			continue
		}
		return &account{gid: gid, name: name, uid: uid}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root and there is neither a user postgres nor nobody to run it " +
		"as: make one (useradd --system postgres), or start as an ordinary user, or give the URL of a running server")
}

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// DefaultDataDir is base/postgres when the user who would run the server can reach it. Else, which happens to root
// below a closed home directory, it is a folder of its own below /var/lib/recourse, the same one each time for the
// same base.
func DefaultDataDir(base string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(base, "postgres"))
	if err != nil {
		return "", fmt.Errorf("finding the data directory: %w", err)
	}
	owner, err := serverAccount(filepath.Join(dir, clusterName))
	if err != nil {
		return "", err
	}
	if reachable(dir, owner) == nil {
		return dir, nil
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join("/var/lib/recourse", hex.EncodeToString(sum[:4]), "postgres"), nil
}

// reachable names the first parent folder that the account may not enter. What does not exist yet is no obstacle.
func reachable(path string, a *account) error {
	if a == nil {
		return nil
	}
	parent := string(filepath.Separator)
	for part := range strings.SplitSeq(strings.Trim(filepath.Dir(path), parent), parent) {
		parent = filepath.Join(parent, part)
		info, err := os.Stat(parent)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking at %s: %w", parent, err)
		}
		uid, gid, err := ownerOf(parent)
		if err != nil {
			return err
		}
		need := os.FileMode(0o001)
		switch {
		case uid == a.uid:
			need = 0o100
		case gid == a.gid:
			need = 0o010
		}
		if info.Mode()&need == 0 {
			return fmt.Errorf("%s cannot be reached by the user %s, who runs PostgreSQL because root must not: %s is "+
				"closed to others; choose a folder below /var/lib or /tmp, or open it (chmod o+x %s)",
				path, a.name, parent, parent)
		}
	}
	return nil
}
