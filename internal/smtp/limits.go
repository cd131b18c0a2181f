package smtp

// Sizes of the protocol, in octets unless said otherwise (RFC 5321 §4.5.3.1,
// SRV-9). The standard's figures are the least that must be accepted; where
// ours are larger, real mail asked for it.
const (
	// LocalPartMax is 64 in the standard. Bounce addresses that carry the
	// recipient (VERP, SRS) pass that, and refusing them loses reports.
	LocalPartMax = 256
	// DomainMax is the most that DNS can hold in text form.
	DomainMax = 255
	// LabelMax is the longest label of a domain (RFC 1035 §2.3.4).
	LabelMax = 63
	// PathMax bounds a path with its angle brackets, source route included.
	PathMax = 1024

	// CommandLineMax is the longest command line with its CRLF: 512 plus what
	// all extensions together may add (SRV-9, SRV-10).
	CommandLineMax = 4096
	// AuthLineMax is the longest line of an AUTH exchange with its CRLF
	// (RFC 4954 §4.5, SRV-10).
	AuthLineMax = 12288
	// TextLineMax is the longest line of content with its CRLF that every
	// receiver must take (RFC 5321 §4.5.3.1.6).
	TextLineMax = 1000
	// ReplyLineMax is the longest reply line, with CRLF, accepted from a peer:
	// eight times what the standard allows it (CLI-34).
	ReplyLineMax = 4096
	// ReplyLinesMax is the most lines of one reply accepted from a peer (CLI-34).
	ReplyLinesMax = 200

	// EnvelopeIDMax is the longest ENVID, decoded (RFC 3461 §4.4).
	EnvelopeIDMax = 100
	// OriginalRecipientMax is the longest ORCPT value (RFC 3461 §4.2).
	OriginalRecipientMax = 500
	// AuthParamMax is the longest AUTH= value as sent (RFC 4954 §3 item 8).
	AuthParamMax = 500
)
