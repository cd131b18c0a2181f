package compat

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif" // decoders
	"image/jpeg"
	_ "image/png" // decoders
	"net/http"
	"strings"
)

const (
	thumbWidth, thumbHeight = 180, 120
	thumbQuality            = 70
	// pixelsMax bounds a picture before it is decoded: a few octets may claim to
	// be gigabytes. 20 million pixels are 80 MB.
	pixelsMax = 20_000_000
)

// thumb answers with a small JPEG of a picture; of what is none, or is too large
// to be looked at, with a white one, as Mailpit does.
func (a *API) thumb(w http.ResponseWriter, r *http.Request) {
	l, p := a.partOf(w, r)
	if l == nil {
		return
	}
	canvas := image.NewRGBA(image.Rect(0, 0, thumbWidth, thumbHeight))
	draw.Draw(canvas, canvas.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	if strings.HasPrefix(p.Type, "image/") {
		select {
		case a.parses <- struct{}{}:
			paint(canvas, p.Bytes())
			<-a.parses
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "image/jpeg")
	jpeg.Encode(w, canvas, &jpeg.Options{Quality: thumbQuality})
}

// paint draws a picture on the canvas: one as large fills it, cut at its middle;
// a smaller one stands in its middle.
func paint(canvas *image.RGBA, octets []byte) {
	head, _, err := image.DecodeConfig(bytes.NewReader(octets))
	if err != nil || head.Width <= 0 || head.Height <= 0 || int64(head.Width)*int64(head.Height) > pixelsMax {
		return
	}
	picture, _, err := image.Decode(bytes.NewReader(octets))
	if err != nil {
		return
	}
	b := picture.Bounds()
	width, height := float64(b.Dx()), float64(b.Dy())
	if width <= 0 || height <= 0 {
		return
	}
	scale := max(thumbWidth/width, thumbHeight/height)
	if width < thumbWidth || height < thumbHeight { // fit, and never enlarge
		scale = min(1, thumbWidth/width, thumbHeight/height)
	}
	target := image.Rect(0, 0, max(1, int(width*scale+0.5)), max(1, int(height*scale+0.5)))
	target = target.Add(image.Pt((thumbWidth-target.Dx())/2, (thumbHeight-target.Dy())/2))
	visible := target.Intersect(canvas.Bounds())
	for y := visible.Min.Y; y < visible.Max.Y; y++ {
		for x := visible.Min.X; x < visible.Max.X; x++ {
			blend(canvas, x, y, average(picture, cell(x-target.Min.X, y-target.Min.Y, 1/scale, b)))
		}
	}
}

// cell is the part of a picture that one pixel stands for.
func cell(x, y int, step float64, b image.Rectangle) image.Rectangle {
	r := image.Rect(int(float64(x)*step), int(float64(y)*step), int(float64(x+1)*step), int(float64(y+1)*step))
	r.Max.X, r.Max.Y = max(r.Max.X, r.Min.X+1), max(r.Max.Y, r.Min.Y+1)
	return r.Add(b.Min).Intersect(b)
}

// average samples a cell, at most 4 by 4 of its pixels.
func average(picture image.Image, c image.Rectangle) color.RGBA64 {
	stepX, stepY := max(1, c.Dx()/4), max(1, c.Dy()/4)
	var r, g, b, a, n uint32
	for y := c.Min.Y; y < c.Max.Y; y += stepY {
		for x := c.Min.X; x < c.Max.X; x += stepX {
			pr, pg, pb, pa := picture.At(x, y).RGBA()
			r, g, b, a, n = r+pr, g+pg, b+pb, a+pa, n+1
		}
	}
	if n == 0 {
		return color.RGBA64{}
	}
	return color.RGBA64{uint16(r / n), uint16(g / n), uint16(b / n), uint16(a / n)}
}

// blend lays a colour over the white canvas.
func blend(canvas *image.RGBA, x, y int, c color.RGBA64) {
	white := 0xffff - uint32(c.A)
	over := func(v uint16) uint8 { return uint8(min(0xffff, uint32(v)+white) >> 8) }
	canvas.SetRGBA(x, y, color.RGBA{over(c.R), over(c.G), over(c.B), 0xff})
}
