package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

// toMaildirs writes the message into a maildir for each recipient. Each is its
// own outcome.
func (d *Deliverer) toMaildirs(ctx context.Context, a mail.Attempt) []mail.Outcome {
	out := make([]mail.Outcome, len(a.Recipients))
	for i, n := range a.Recipients {
		o := mail.Outcome{Result: mail.Accepted, Ours: true, Host: "maildir", Stage: mail.StageDot, Reply: smtp.OK.WithText("Delivered to maildir")}
		if err := ctx.Err(); err != nil {
			o = mail.Outcome{Result: mail.Untried, Ours: true, Stage: mail.StageContent, Reply: smtp.LocalError.Because(err)}
		} else if err := d.toMaildir(a, n); err != nil {
			o.Result, o.Reply = mail.Deferred, smtp.AsReply(err)
			if o.Reply.Permanent() {
				o.Result = mail.Refused
			}
			if o.Reply.Code == smtp.DiskFull.Code {
				o.Reach = mail.ThisSite // all maildirs share the trouble
			}
		}
		out[i] = o
	}
	return out
}

// toMaildir is final delivery: written to tmp, made durable, moved to new, made
// durable. The name is the message's own, so that an attempt repeated after a
// crash replaces its first copy instead of adding one.
func (d *Deliverer) toMaildir(a mail.Attempt, n int) error {
	to := a.Envelope.Recipients[n]
	base, box, err := mailbox(a.Route.Target, to.Address)
	if err != nil {
		return err
	}
	root, err := openBase(base)
	if err != nil {
		return storageTrouble(err)
	}
	defer root.Close()
	if err := makeMaildir(root, box); err != nil {
		return storageTrouble(err)
	}
	name := fmt.Sprintf("%d.%s_%d.%s", a.Envelope.ID.Time().Unix(), a.Envelope.ID, n, safeHost(d.conf.Hostname))
	tmp := path.Join(box, "tmp", name)
	if err := writeDurably(root, tmp, a, to); err != nil {
		root.Remove(tmp)
		return storageTrouble(err)
	}
	if err := root.Rename(tmp, path.Join(box, "new", name)); err != nil {
		return storageTrouble(err)
	}
	return storageTrouble(syncDir(root, path.Join(box, "new")))
}

// makeMaildir makes what is missing of a maildir, and makes that durable up to
// the base: a message whose directory a power cut takes away is lost. "cur" is
// made last, so that what is there when it is there is durable.
func makeMaildir(root *os.Root, box string) error {
	whole := true
	for _, dir := range []string{"tmp", "new", "cur"} {
		_, err := root.Stat(path.Join(box, dir))
		whole = whole && err == nil
	}
	if whole {
		return nil
	}
	for _, dir := range []string{"tmp", "new"} {
		if err := root.MkdirAll(path.Join(box, dir), 0o700); err != nil {
			return err
		}
	}
	for dir := box; ; dir = path.Dir(dir) {
		if err := syncDir(root, dir); err != nil {
			return err
		}
		if dir == "." {
			return root.MkdirAll(path.Join(box, "cur"), 0o700)
		}
	}
}

func openBase(base string) (*os.Root, error) {
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, err
	}
	return os.OpenRoot(base)
}

// safeHost is the host as maildir names may hold it.
func safeHost(name string) string { return strings.NewReplacer("/", "_", ":", "_").Replace(name) }

func writeDurably(root *os.Root, name string, a mail.Attempt, to mail.Recipient) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := writeFinal(f, a, to); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// writeFinal writes what final delivery adds, then the message, with the line
// ends of files: Return-Path exactly once (RCV-8), Delivered-To against loops
// (REL-5).
func writeFinal(w io.Writer, a mail.Attempt, to mail.Recipient) error {
	h, rest, err := readHeader(a.Body)
	if err != nil {
		return err
	}
	for _, f := range h.All("Delivered-To") {
		if sameAddress(f.Value(), to.Address) {
			return smtp.LoopFound // REL-5
		}
	}
	h, _ = h.Without(func(f message.Field) bool { return f.Is("Return-Path") })
	lines := &unixLines{w: w}
	fmt.Fprintf(lines, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", a.Envelope.From, to.Address)
	if _, err := lines.Write(h.Bytes()); err != nil {
		return err
	}
	if _, err := io.Copy(lines, rest); err != nil {
		return err
	}
	return lines.flush()
}

// headerMax bounds the header read for final delivery; what is received has
// less (SUB-33).
const headerMax = 1 << 20

// readHeader splits a stored message; rest reads what follows the empty line.
func readHeader(body mail.Body) (message.Header, io.Reader, error) {
	head := make([]byte, min(body.Size(), headerMax))
	if n, err := body.ReadAt(head, 0); n < len(head) {
		return message.Header{}, nil, err
	}
	end := len(head)
	if bytes.HasPrefix(head, []byte("\r\n")) {
		end = 2
	} else if i := bytes.Index(head, []byte("\r\n\r\n")); i >= 0 {
		end = i + 4
	}
	h, err := message.SplitHeader(head[:end])
	if err != nil {
		return message.Header{}, bytes.NewReader(nil), smtp.BadContent.Because(err)
	}
	return h, io.NewSectionReader(body, int64(end), body.Size()-int64(end)), nil
}

func sameAddress(a, b string) bool {
	return mail.Local(a) == mail.Local(b) && mail.Domain(a) == mail.Domain(b)
}

// unixLines turns CRLF into LF and leaves all else alone.
type unixLines struct {
	w  io.Writer
	cr bool // held back
}

func (u *unixLines) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+1)
	for _, c := range p {
		if u.cr && c != '\n' {
			out = append(out, '\r')
		}
		if u.cr = c == '\r'; !u.cr {
			out = append(out, c)
		}
	}
	if _, err := u.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (u *unixLines) flush() error {
	if !u.cr {
		return nil
	}
	_, err := u.w.Write([]byte{'\r'})
	return err
}

// mailbox splits a target into the directory that the operator named and the
// mailbox below it that the address chose: "/var/mail/{local}" is base
// "/var/mail", box "anna". What comes from the address is one path element
// that cannot lead elsewhere, and the caller opens it beneath base only.
func mailbox(target, address string) (base, box string, err error) {
	local, domain := plainLocal(address), mail.Domain(address)
	at := strings.IndexByte(target, '{')
	if at < 0 {
		return target, ".", nil
	}
	cut := strings.LastIndexByte(target[:at], '/')
	rest := target[cut+1:]
	for _, sub := range []struct{ mark, value string }{{"{local}", local}, {"{domain}", domain}} {
		if strings.Contains(rest, sub.mark) && !isPathElement(sub.value) {
			return "", "", smtp.NoMailbox.Because(errors.New("its name is no file name"))
		}
		rest = strings.ReplaceAll(rest, sub.mark, sub.value)
	}
	if !fs.ValidPath(rest) {
		return "", "", smtp.LocalError.Because(fmt.Errorf("maildir %q", rest))
	}
	return target[:cut+1], rest, nil
}

// plainLocal is the local part as a mailbox's name: without quotes, in lower
// case.
func plainLocal(address string) string {
	a := smtp.Address{Local: mail.Local(address), Domain: mail.Domain(address)}
	return strings.ToLower(a.Unquoted())
}

// isPathElement is strict: it must be one name, visible, no dots ahead, and not
// longer than file systems take.
func isPathElement(s string) bool {
	const nameMax = 200 // octets; file systems allow 255
	if s == "" || len(s) > nameMax || s[0] == '.' {
		return false
	}
	for _, c := range s {
		if c == '/' || c == '\\' || c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// storageTrouble makes file system errors replies: a full disk, else a fault of
// ours. Replies pass.
func storageTrouble(err error) error {
	var r smtp.Reply
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return smtp.DiskFull.Because(err)
	}
	return smtp.LocalError.Because(err)
}
