package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kept is a refresh token as it survives a restart.
type Kept struct {
	RefreshToken string    `json:"refresh_token"`
	Obtained     time.Time `json:"obtained"`
	// Seed is the configured refresh token's hash at that time: when the operator
	// configures another one, that counts.
	Seed string `json:"seed,omitempty"`
	By   string `json:"by"` // "login" or "rotation"
}

// Keeper keeps the refresh token of one smart host in a file of its own, mode
// 0600. Several processes may use it: who logs in, and the server.
type Keeper struct {
	dir, name string
}

// NewKeeper returns the keeper for a name; the folder is made when first
// needed. A name must be fit for a file.
func NewKeeper(dir, name string) (*Keeper, error) {
	if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("%q cannot be the name of a file", name)
	}
	return &Keeper{dir: dir, name: name}, nil
}

// File is where the token is kept.
func (k *Keeper) File() string { return filepath.Join(k.dir, k.name+".json") }

// keptMax bounds the file.
const keptMax = 64 << 10

// Load returns what is kept; ok is false if nothing is.
func (k *Keeper) Load() (kept Kept, ok bool, err error) {
	info, err := os.Stat(k.File())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return kept, false, nil
	case err != nil:
		return kept, false, err
	case info.Size() > keptMax:
		return kept, false, fmt.Errorf("%s is no refresh token", k.File())
	}
	b, err := os.ReadFile(k.File())
	if err != nil {
		return kept, false, err
	}
	if json.Unmarshal(b, &kept) != nil || kept.RefreshToken == "" {
		return Kept{}, false, fmt.Errorf("%s is damaged", k.File())
	}
	return kept, true, nil
}

// Save keeps a token in place of another: durable when it returns nil.
func (k *Keeper) Save(kept Kept) error { return k.replace("", kept, false) }

// errOvertaken: somebody else has kept another token meanwhile.
var errOvertaken = errors.New("another refresh token was kept meanwhile")

// Rotate keeps a token in place of the one named, "" for none; if another is
// kept by now, somebody has logged in anew and errOvertaken is returned.
func (k *Keeper) Rotate(old string, kept Kept) error { return k.replace(old, kept, true) }

func (k *Keeper) replace(old string, kept Kept, only bool) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	k.handOver(k.dir)
	unlock, err := k.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if only {
		if now, ok, err := k.Load(); err == nil && ok && now.RefreshToken != old {
			return errOvertaken
		}
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(k.dir, "."+k.name+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	k.handOver(f.Name())
	if err := os.Rename(f.Name(), k.File()); err != nil {
		return err
	}
	return syncDir(k.dir)
}

// lock keeps others from writing meanwhile; it ends with the process at the
// latest.
func (k *Keeper) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(k.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	k.handOver(f.Name())
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// handOver gives what root made to the owner of the data directory above: the
// server must be able to read it.
func (k *Keeper) handOver(name string) {
	if os.Geteuid() != 0 {
		return
	}
	var owner unix.Stat_t
	if unix.Stat(filepath.Dir(k.dir), &owner) == nil && owner.Uid != 0 {
		_ = os.Lchown(name, int(owner.Uid), int(owner.Gid)) // else the server says that it cannot read it
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// stamp changes whenever the file does.
func (k *Keeper) stamp() string {
	var s unix.Stat_t
	if err := unix.Stat(k.File(), &s); err != nil {
		return ""
	}
	return fmt.Sprint(s.Ino, s.Mtim.Sec, s.Mtim.Nsec, s.Size)
}

// seed is the mark by which a configured refresh token is known again.
func seed(refresh string) string {
	if refresh == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(refresh))
	return hex.EncodeToString(sum[:8])
}
