package smtp

// The replies that more than one place gives, by the names of standards §16.1.
// They are constants in spirit; use Because, WithText and AndClose to refine.
var (
	OK         = Reply{Code: 250, Enhanced: Enhanced{2, 0, 0}, Text: "Ok"}
	LocalError = Reply{Code: 451, Enhanced: Enhanced{4, 3, 0}, Text: "Local error in processing, try again later"}               // RC-36
	DiskFull   = Reply{Code: 452, Enhanced: Enhanced{4, 3, 1}, Text: "Insufficient system storage, try again later"}             // RC-35
	ShutDown   = Reply{Code: 421, Enhanced: Enhanced{4, 3, 2}, Text: "Service shutting down, try again later", Close: true}      // RC-5
	IdleClose  = Reply{Code: 421, Enhanced: Enhanced{4, 4, 2}, Text: "Idle too long, closing connection", Close: true}           // RC-6
	TooMany    = Reply{Code: 421, Enhanced: Enhanced{4, 7, 0}, Text: "Too many connections, try again later", Close: true}       // RC-4
	TooBig     = Reply{Code: 552, Enhanced: Enhanced{5, 3, 4}, Text: "Message size exceeds fixed limit"}                         // RC-34
	LoopFound  = Reply{Code: 554, Enhanced: Enhanced{5, 4, 6}, Text: "Mail loop detected"}                                       // RC-53
	RelayDeny  = Reply{Code: 550, Enhanced: Enhanced{5, 7, 1}, Text: "Relaying denied"}                                          // RC-30
	NoMailbox  = Reply{Code: 550, Enhanced: Enhanced{5, 1, 1}, Text: "No such user"}                                             // RC-25
	NoDomain   = Reply{Code: 550, Enhanced: Enhanced{5, 1, 2}, Text: "Domain not found"}                                         // RC-25
	NullMX     = Reply{Code: 556, Enhanced: Enhanced{5, 1, 10}, Text: "Domain does not accept mail (null MX)"}                   // RC-25, RFC 7505
	NotYours   = Reply{Code: 550, Enhanced: Enhanced{5, 7, 1}, Text: "Sender not allowed for this account"}                      // RC-24
	BadLogin   = Reply{Code: 535, Enhanced: Enhanced{5, 7, 8}, Text: "Authentication credentials invalid"}                       // AUTH-3
	RateLimit  = Reply{Code: 450, Enhanced: Enhanced{4, 7, 1}, Text: "Rate limit exceeded, retry later"}                         // RC-54
	DayQuota   = Reply{Code: 452, Enhanced: Enhanced{4, 7, 1}, Text: "Daily quota exceeded, retry later"}                        // RC-54
	BadContent = Reply{Code: 554, Enhanced: Enhanced{5, 6, 0}, Text: "Message content is malformed"}                             // RC-41
	TooManyRcp = Reply{Code: 452, Enhanced: Enhanced{4, 5, 3}, Text: "Too many recipients"}                                      // RC-32
	NeedTLS    = Reply{Code: 530, Enhanced: Enhanced{5, 7, 0}, Text: "Must issue a STARTTLS command first"}                      // RC-18
	NeedAuth   = Reply{Code: 530, Enhanced: Enhanced{5, 7, 0}, Text: "Authentication required"}                                  // AUTH-3
	BadOrder   = Reply{Code: 503, Enhanced: Enhanced{5, 5, 1}, Text: "Bad sequence of commands"}                                 // RC-12
	Unknown    = Reply{Code: 500, Enhanced: Enhanced{5, 5, 1}, Text: "Command not recognised"}                                   // RC-9
	BadSyntax  = Reply{Code: 500, Enhanced: Enhanced{5, 5, 2}, Text: "Syntax error"}                                             // RC-10
	BadArg     = Reply{Code: 501, Enhanced: Enhanced{5, 5, 4}, Text: "Syntax error in parameters or arguments"}                  // RC-13
	BadParam   = Reply{Code: 555, Enhanced: Enhanced{5, 5, 4}, Text: "Parameter not recognised or not implemented"}              // RC-14
	NotDone    = Reply{Code: 502, Enhanced: Enhanced{5, 5, 1}, Text: "Command not implemented"}                                  // RC-11
	Undurable  = Reply{Code: 451, Enhanced: Enhanced{4, 3, 0}, Text: "Message could not be stored, try again later"}             // SRV-32
	NoHost     = Reply{Code: 451, Enhanced: Enhanced{4, 4, 1}, Text: "No answer from host"}                                      // §16.2
	Dropped    = Reply{Code: 451, Enhanced: Enhanced{4, 4, 2}, Text: "Connection dropped"}                                       // §16.2
	DNSTrouble = Reply{Code: 451, Enhanced: Enhanced{4, 4, 3}, Text: "Temporary DNS failure"}                                    // §16.2
	NoUsable   = Reply{Code: 550, Enhanced: Enhanced{5, 4, 4}, Text: "No usable mail host for the domain"}                       // §16.2
	TLSTrouble = Reply{Code: 451, Enhanced: Enhanced{4, 7, 5}, Text: "TLS required but not to be had"}                           // §16.2
	Expired    = Reply{Code: 554, Enhanced: Enhanced{5, 4, 7}, Text: "Message expired, gave up after repeated temporary errors"} // §16.2
)
