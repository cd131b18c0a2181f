package console

// word is one way to search, as the page explains it.
type word struct{ Example, Means string }

// grammar is what the search understands; catch.ParseQuery reads it.
func grammar() []word {
	return []word{
		{"order shipped", "both words, anywhere: addresses, subject, text"},
		{`"order shipped"`, "the phrase"},
		{"-draft", "without that word; works before any of these"},
		{"from:anna", "sender, of header or envelope"},
		{"to:ben rcpt:ben", "recipient of either; of the envelope alone"},
		{"subject:welcome", "words of the subject"},
		{"body:token", "words of the text"},
		{"user:app mailbox:app", "who signed in; where it was put"},
		{"port:1587", "the port it came by"},
		{"tls:no tls:yes", "in clear; inside TLS"},
		{"message-id:abc@x", "the Message-ID"},
	}
}
