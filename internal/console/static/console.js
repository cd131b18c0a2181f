// The page works without this file; it adds live updates, keys and moving
// between messages without loading the page anew.
(function () {
  'use strict';
  const $ = (id) => document.getElementById(id);
  const active = document.body.dataset.active;

  // ---- fragments ----

  function withParam(url, name, value) {
    const u = new URL(url, location.href);
    u.searchParams.set(name, value);
    return u;
  }

  async function fragment(url, name) {
    const r = await fetch(withParam(url, 'fragment', name), { credentials: 'same-origin' });
    return r.ok ? r.text() : null;
  }

  let opening = 0;
  async function open(url, push) {
    const turn = ++opening;
    const text = await fragment(url, 'message').catch(() => null);
    if (turn !== opening) return;
    if (text === null) { location.href = url; return; }
    $('reader').innerHTML = text;
    $('reader').scrollTop = 0;
    $('split').classList.add('reading');
    if (push) history.pushState(null, '', url);
    document.title = (text && $('reader').querySelector('h1') ? $('reader').querySelector('h1').textContent : 'Mail') + ' · Paquebot';
    keepWidth();
    mark();
  }

  function openID() {
    const m = location.pathname.match(/^\/m\/([^/]+)$/);
    if (!m) return '';
    const head = $('reader') && $('reader').querySelector('.msg');
    return head ? head.dataset.id : m[1];
  }

  function mark() {
    const id = openID();
    for (const row of document.querySelectorAll('.row')) {
      if (row.dataset.id === id) {
        row.setAttribute('aria-current', 'true');
        row.scrollIntoView({ block: 'nearest' });
      } else row.removeAttribute('aria-current');
    }
  }

  function back() {
    const scope = new URL(location.href);
    scope.searchParams.delete('tab');
    scope.searchParams.delete('remote');
    history.pushState(null, '', '/' + scope.search);
    $('split').classList.remove('reading');
    const id = $('reader').querySelector('.msg');
    $('reader').textContent = '';
    document.title = 'Mail · Paquebot';
    const row = id && document.querySelector('.row[data-id="' + id.dataset.id + '"]');
    mark();
    if (row) row.focus();
  }

  document.addEventListener('click', (e) => {
    if (e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const copy = e.target.closest('[data-copy]');
    if (copy) { copyText(copy); return; }
    const width = e.target.closest('[data-width]');
    if (width) { setWidth(width.dataset.width); return; }
    if (active !== 'mail') return;
    const link = e.target.closest('.row, [data-nav]');
    if (link) { e.preventDefault(); open(keepTab(link), true); return; }
    if (e.target.closest('[data-back]')) { e.preventDefault(); back(); }
  });

  // Another message opens at the tab that is open now.
  function keepTab(link) {
    const u = new URL(link.href);
    const tab = new URL(location.href).searchParams.get('tab');
    if (tab && !link.dataset.tab && !u.searchParams.has('tab')) u.searchParams.set('tab', tab);
    return u.pathname + u.search;
  }

  addEventListener('popstate', () => {
    if (active !== 'mail') return;
    if (openID()) open(location.href, false);
    else { $('split').classList.remove('reading'); $('reader').textContent = ''; refresh(); }
  });

  document.addEventListener('submit', (e) => {
    const ask = e.target.dataset.confirm;
    if (ask && !confirm(ask)) { e.preventDefault(); return; }
    if (e.target.closest('.actions')) { e.preventDefault(); remove(); }
  });

  // ---- widths of the preview, copying ----

  let chosen = 'full';
  function setWidth(w) { chosen = w; keepWidth(); }
  function keepWidth() {
    const box = $('framebox');
    if (!box) return;
    box.className = 'framebox ' + chosen;
    for (const b of document.querySelectorAll('[data-width]')) b.setAttribute('aria-pressed', String(b.dataset.width === chosen));
  }

  async function copyText(button) {
    const pre = button.parentElement.querySelector('pre');
    try {
      await navigator.clipboard.writeText(pre.textContent);
      say('Copied');
      button.textContent = 'Copied';
    } catch (_) {
      getSelection().selectAllChildren(pre);
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  }

  function say(text) { $('announce').textContent = text; }

  // ---- live ----

  let timer = 0, known = new Set();
  function remember() { known = new Set([...document.querySelectorAll('.row')].map((r) => r.dataset.id)); }

  // One refresh at a time, however fast mail comes.
  let busy = false;
  async function refresh() {
    timer = 0;
    if (busy) { soon(); return; }
    busy = true;
    try { await renew(); } finally { busy = false; }
  }

  async function renew() {
    if (active === 'sessions') {
      const text = await fragment(location.href, 'sessions').catch(() => null);
      const openOnes = document.querySelector('#sessions details[open]');
      if (text !== null && !openOnes) $('sessions').innerHTML = text;
      return;
    }
    if (active !== 'mail') return;
    const u = new URL('/', location.href);
    for (const p of ['mailbox', 'q', 'before']) {
      const v = new URL(location.href).searchParams.get(p);
      if (v) u.searchParams.set(p, v);
    }
    u.searchParams.set('selected', openID());
    const text = await fragment(u, 'list').catch(() => null);
    if (text === null) return;
    const list = $('list'), top = list.scrollTop;
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.id : '';
    if (document.querySelector('.welcome') && text.includes('class="welcome"')) return; // leave what a person is copying
    list.innerHTML = text;
    list.scrollTop = top;
    if (focused) { const row = document.querySelector('.row[data-id="' + focused + '"]'); if (row) row.focus({ preventScroll: true }); }
    for (const row of document.querySelectorAll('.row')) if (known.size && !known.has(row.dataset.id)) row.classList.add('new');
    remember();
    light();
  }

  function soon() { if (!timer) timer = setTimeout(refresh, 150); }

  let state = '';
  function light(s) {
    if (s) state = s;
    const dot = $('live');
    if (dot) { dot.className = 'live ' + state; dot.title = state === 'on' ? 'Live' : 'Not connected; trying again'; }
  }

  function bump(id, by) { const n = $(id); if (n) n.textContent = String(Math.max(0, Number(n.textContent) + by)); }

  function listen() {
    const source = new EventSource('/api/dev/events');
    let first = true;
    source.addEventListener('hello', () => { light('on'); if (!first) soon(); first = false; });
    source.addEventListener('caught', (e) => {
      const m = JSON.parse(e.data);
      bump('count-mail', 1);
      say('New mail from ' + m.from + ': ' + (m.subject || 'no subject'));
      soon();
    });
    source.addEventListener('deleted', (e) => { bump('count-mail', -JSON.parse(e.data).ids.length); soon(); });
    source.addEventListener('failed', (e) => {
      const s = JSON.parse(e.data), n = $('count-failed');
      if (n && !seen.has(s.id)) { seen.add(s.id); bump('count-failed', 1); n.classList.add('bad'); say('A session on port ' + s.port + ' failed'); }
      if (active === 'sessions') soon();
    });
    source.onerror = () => light('off');
  }
  const seen = new Set();

  // ---- keys ----

  function step(by) {
    const rows = [...document.querySelectorAll('.row')];
    if (!rows.length) return;
    let at = rows.findIndex((r) => r.hasAttribute('aria-current'));
    if (at < 0) at = rows.indexOf(document.activeElement);
    const row = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
    if ($('split').classList.contains('reading')) open(keepTab(row), true);
    else { row.focus(); row.scrollIntoView({ block: 'nearest' }); }
  }

  async function remove() {
    const focused = document.activeElement && document.activeElement.classList.contains('row') ? document.activeElement : null;
    const current = document.querySelector('.row[aria-current]') || focused;
    const id = openID() || (current && current.dataset.id);
    if (!id) return;
    const reading = $('split').classList.contains('reading');
    const rows = [...document.querySelectorAll('.row')];
    const at = rows.findIndex((r) => r.dataset.id === id);
    const next = rows[at + 1] || rows[at - 1];
    const r = await fetch('/api/dev/messages/' + id, { method: 'DELETE' }).catch(() => null);
    if (!r || (!r.ok && r.status !== 404)) { say('Not deleted'); return; }
    say('Deleted');
    if (at >= 0) rows[at].remove();
    if (reading && next) open(keepTab(next), true);
    else if (reading) back();
    else if (next) next.focus();
    soon();
  }

  document.addEventListener('keydown', (e) => {
    if (e.metaKey || e.ctrlKey || e.altKey) return;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName);
    if (typing) { if (e.key === 'Escape') e.target.blur(); return; }
    if (e.key === '?') { location.href = '/help'; return; }
    if (active !== 'mail') return;
    const act = {
      j: () => step(1), k: () => step(-1),
      Delete: remove,
      '/': () => { $('q').focus(); $('q').select(); },
      Escape: () => { if ($('split').classList.contains('reading')) back(); },
    }[e.key];
    if (act) { e.preventDefault(); act(); }
  });

  const box = $('mailbox');
  if (box) box.addEventListener('change', () => box.form.submit());
  remember();
  mark();
  listen();
})();
