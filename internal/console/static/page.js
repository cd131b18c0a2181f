// What the other modules share: where the page lives, what is remembered, how
// parts of it are fetched and put in place.

export const $ = (id) => document.getElementById(id);
export const base = document.documentElement.dataset.base || '';
export const active = document.body.dataset.active;

// remember and recall keep small choices of a person in this browser.
export function remember(name, value) {
  try { localStorage.setItem('paquebot.' + name, value); } catch (_) { /* not kept */ }
}
export function recall(name, fallback) {
  try { return localStorage.getItem('paquebot.' + name) || fallback; } catch (_) { return fallback; }
}

// fragment asks for part of a page.
export async function fragment(url, name) {
  const u = new URL(url, location.href);
  u.searchParams.set('fragment', name);
  const r = await fetch(u, { credentials: 'same-origin' }).catch(() => null);
  return r && r.ok ? r.text() : null;
}

// swap puts each element of a fragment in the place of the one with its id.
export function swap(text) {
  const t = document.createElement('template');
  t.innerHTML = text;
  for (const fresh of t.content.children) {
    const old = fresh.id && $(fresh.id);
    if (old && !(fresh.id === 'mailbox' && document.activeElement === old)) old.replaceChildren(...fresh.childNodes);
  }
}

// say tells it to those who hear the page; toast shows it as well.
export function say(text) { $('announce').textContent = text; }
let toastTimer = 0;
export function toast(text) {
  const box = $('toast');
  box.textContent = text;
  box.classList.add('on');
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => box.classList.remove('on'), 2200);
}

// scope is the query string that the list is narrowed by.
export function scope() {
  const now = new URL(location.href).searchParams, out = new URLSearchParams();
  for (const name of ['mailbox', 'q']) if (now.get(name)) out.set(name, now.get(name));
  const text = out.toString();
  return text ? '?' + text : '';
}

// age says how long ago, as the server's funcs.go does.
export function age(then) {
  const s = (Date.now() - then) / 1000;
  if (s < 5) return 'now';
  if (s < 60) return Math.floor(s) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min';
  if (s < 86400) return Math.floor(s / 3600) + ' h';
  return Math.floor(s / 86400) + ' d';
}
