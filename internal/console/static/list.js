// The list: its rows, what is selected, what is deleted.
import { $, active, age, base, fragment, say, scope, swap, toast } from './page.js';
import { ask } from './dialog.js';
import { back, openID, openRow, reading } from './reader.js';

export const rows = () => [...document.querySelectorAll('.row[data-id]')];

// mark shows which row is open.
export function mark(scroll) {
  const id = openID();
  for (const row of rows()) {
    if (id && row.dataset.id === id) {
      row.classList.remove('unread');
      row.setAttribute('aria-current', 'true');
      if (scroll) row.scrollIntoView({ block: 'nearest' });
    } else row.removeAttribute('aria-current');
  }
}

// ---- what is selected survives a new list ----

const picked = new Set();
let last = null;

function box(row) { return row.querySelector('.pick input'); }

function show() {
  for (const row of rows()) {
    const on = picked.has(row.dataset.id);
    box(row).checked = on;
    row.classList.toggle('picked', on);
  }
  const bulk = $('bulk');
  if (!bulk) return;
  bulk.classList.toggle('on', picked.size > 0);
  $('bulk-count').textContent = picked.size ? picked.size + ' selected' : '';
  const all = $('pick-all');
  const count = rows().length;
  all.checked = count > 0 && rows().every((r) => picked.has(r.dataset.id));
  all.indeterminate = picked.size > 0 && !all.checked;
}

export function pick(row, on = !picked.has(row.dataset.id)) {
  if (on) picked.add(row.dataset.id); else picked.delete(row.dataset.id);
  last = row.dataset.id;
  show();
}

export function unpick() { const had = picked.size > 0; picked.clear(); show(); return had; }

document.addEventListener('click', (e) => {
  const tick = e.target.closest('.row .pick input');
  if (!tick) return;
  const row = tick.closest('.row'), list = rows(), on = tick.checked; // show() writes the boxes
  const from = e.shiftKey ? list.findIndex((r) => r.dataset.id === last) : -1;
  if (from >= 0) {
    const to = list.indexOf(row);
    for (const r of list.slice(Math.min(from, to), Math.max(from, to) + 1)) pick(r, on);
  }
  pick(row, on);
});

document.addEventListener('change', (e) => {
  if (e.target.id !== 'pick-all') return;
  const on = e.target.checked;
  for (const row of rows()) pick(row, on);
});

// ---- deleting ----

async function remove(id) {
  const r = await fetch(base + '/api/dev/messages/' + id, { method: 'DELETE' }).catch(() => null);
  return Boolean(r && (r.ok || r.status === 404));
}

// removeOne deletes the message that is open or has the focus, and goes on to
// the next.
export async function removeOne() {
  const focused = document.activeElement && document.activeElement.closest('.row[data-id]');
  const id = openID() || (focused && focused.dataset.id);
  if (!id) return;
  const list = rows(), at = list.findIndex((r) => r.dataset.id === id);
  const next = list[at + 1] || list[at - 1], wasReading = reading();
  if (!await remove(id)) { toast('Not deleted'); return; }
  toast('Deleted');
  picked.delete(id);
  if (at >= 0) list[at].remove();
  if (wasReading && next) openRow(next);
  else if (wasReading) back();
  else if (next) next.querySelector('a.open').focus();
  soon();
}

export async function removePicked() {
  if (!picked.size) return removeOne();
  const count = picked.size;
  const one = count === 1;
  if (!await ask('Delete ' + (one ? 'this message?' : 'these ' + count + ' messages?'), 'Delete ' + count)) return;
  const form = new URLSearchParams();
  for (const id of picked) form.append('id', id);
  const gone = picked.has(openID());
  const r = await fetch(base + '/delete', { method: 'POST', body: form, redirect: 'manual' }).catch(() => null);
  if (!r) { toast('Not deleted'); return; }
  picked.clear();
  toast(one ? 'Deleted' : count + ' deleted');
  if (gone) back();
  soon();
}

// unread marks what is selected, open or has the focus as not read.
export async function unread() {
  const focused = document.activeElement && document.activeElement.closest('.row[data-id]');
  const ids = picked.size ? [...picked] : [openID() || (focused && focused.dataset.id)].filter(Boolean);
  if (!ids.length) return;
  const form = new URLSearchParams();
  for (const id of ids) form.append('id', id);
  await fetch(base + '/read?unread=1', { method: 'POST', body: form, redirect: 'manual' }).catch(() => null);
  picked.clear();
  if (reading()) back();
  toast('Marked as unread');
  soon();
}

document.addEventListener('submit', async (e) => {
  if (e.target.matches('.rowsform')) { e.preventDefault(); removePicked(); return; }
  if (e.target.matches('[data-delete]')) { e.preventDefault(); removeOne(); return; }
  const question = e.target.dataset.confirm;
  if (!question) return;
  e.preventDefault();
  if (await ask(question, e.target.dataset.confirmYes)) e.target.submit();
});

// ---- a list that is new ----

let timer = 0, busy = false, again = false, known = null;

// soon renews what is shown: at once when nothing is under way, else when that
// is done; so the first message is there at once, and a flood costs no more
// than one request after the other.
export function soon() {
  if (busy) { again = true; return; }
  if (!timer) timer = setTimeout(refresh, document.hidden ? 300 : 0);
}

async function refresh() {
  timer = 0;
  busy = true;
  const began = performance.now();
  try { await renew(); } finally {
    busy = false;
    if (again) { again = false; timer = setTimeout(refresh, Math.max(50, performance.now() - began)); }
  }
}

export async function renew() {
  if (active === 'sessions') { await renewSessions(); return; }
  if (active !== 'mail') return;
  const u = new URL(base + '/' + scope(), location.href);
  const before = new URL(location.href).searchParams.get('before');
  if (before) u.searchParams.set('before', before);
  u.searchParams.set('selected', openID());
  const text = await fragment(u, 'list');
  if (text === null) return;
  if (document.querySelector('.welcome') && text.includes('class="welcome"')) return; // leave what a person is copying
  const list = $('list'), top = list.scrollTop;
  const held = document.activeElement && document.activeElement.closest('.row');
  const heldID = held && held.dataset.id, heldBox = held && document.activeElement.type === 'checkbox';
  swap(text);
  mark(false); // another message may have been opened since we asked
  list.scrollTop = top;
  const row = heldID && rows().find((r) => r.dataset.id === heldID);
  if (row) (heldBox ? box(row) : row.querySelector('a.open')).focus({ preventScroll: true });
  arrive();
  show();
  document.dispatchEvent(new Event('renewed'));
}

async function renewSessions() {
  const opened = [...document.querySelectorAll('.failed details[open]')].map((d) => d.closest('.failed').id);
  const text = await fragment(location.href, 'sessions');
  if (text === null) return;
  swap(text);
  for (const id of opened) { const d = $(id) && $(id).querySelector('details'); if (d) d.open = true; }
}

// arrive lets new rows be seen.
function arrive() {
  const now = new Set(rows().map((r) => r.dataset.id));
  if (known) for (const row of rows()) if (!known.has(row.dataset.id)) row.classList.add('new');
  known = now;
}

setInterval(() => {
  for (const t of document.querySelectorAll('time[data-age]')) {
    const text = age(Date.parse(t.dateTime));
    if (t.textContent !== text) t.textContent = text;
  }
}, 5000);

export function begin() { if (active === 'mail') { arrive(); mark(true); } }
export { say };
