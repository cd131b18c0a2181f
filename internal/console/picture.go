package console

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/gif"
	"image/jpeg"
)

// pointsMax is the largest picture a browser is asked to hold: 50 million
// points are 200 MB of its memory, and more than any telephone's camera makes.
// A picture of a hundred bytes may claim four thousand million.
const pointsMax = 50_000_000

// tooManyPoints reads how large a picture says it is, and nothing more: here
// no picture is ever decoded.
func tooManyPoints(body []byte) bool {
	width, height := extent(body)
	return width > 0 && height > 0 && width > pointsMax/height
}

// extent is 0, 0 for what is no picture.
func extent(b []byte) (width, height int) {
	var c image.Config
	var err error
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG")) && len(b) >= 24: // a decoder would want the checksum right as well
		return int(binary.BigEndian.Uint32(b[16:]) & 0x7fffffff), int(binary.BigEndian.Uint32(b[20:]) & 0x7fffffff)
	case bytes.HasPrefix(b, []byte("\xff\xd8")):
		c, err = jpeg.DecodeConfig(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte("GIF8")):
		c, err = gif.DecodeConfig(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte("BM")) && len(b) >= 26:
		side := func(at int) int {
			return max(int(int32(binary.LittleEndian.Uint32(b[at:]))), -int(int32(binary.LittleEndian.Uint32(b[at:]))))
		}
		return side(18), side(22)
	case len(b) >= 30 && bytes.HasPrefix(b, []byte("RIFF")) && bytes.Equal(b[8:12], []byte("WEBP")):
		return webpExtent(b)
	}
	if err != nil {
		return 0, 0
	}
	return c.Width, c.Height
}

// webpExtent reads the first chunk of a WebP file (RFC 9649 §2).
func webpExtent(b []byte) (width, height int) {
	switch string(b[12:16]) {
	case "VP8X":
		return 1 + (int(b[24]) | int(b[25])<<8 | int(b[26])<<16), 1 + (int(b[27]) | int(b[28])<<8 | int(b[29])<<16)
	case "VP8L":
		bits := binary.LittleEndian.Uint32(b[21:])
		return 1 + int(bits&0x3fff), 1 + int(bits>>14&0x3fff)
	case "VP8 ":
		return int(binary.LittleEndian.Uint16(b[26:]) & 0x3fff), int(binary.LittleEndian.Uint16(b[28:]) & 0x3fff)
	}
	return 0, 0
}
