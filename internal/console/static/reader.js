// The message beside the list: opening, leaving, its tabs and its preview.
import { $, base, fragment, recall, remember, scope, toast } from './page.js';
import { mark, rows } from './list.js';

let opening = 0;

export const reading = () => $('split') && $('split').classList.contains('reading');

// openID is the message that is shown, "" for none.
export function openID() {
  const head = $('reader') && $('reader').querySelector('.msg');
  return head ? head.dataset.id : '';
}

export async function open(url, push = true) {
  const turn = ++opening;
  const text = await fragment(url, 'message');
  if (turn !== opening) return;
  if (text === null) { location.href = url; return; }
  const tabs = $('reader').querySelector('.tabs');
  const was = tabs ? tabs.scrollLeft : 0;
  const focusTab = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.tab : '';
  const t = document.createElement('template');
  t.innerHTML = text;
  preview(t.content); // before it is put in place: a frame loads once
  $('reader').replaceChildren(t.content);
  $('reader').scrollTop = 0;
  $('split').classList.add('reading');
  if (push) history.pushState(null, '', url);
  const h = $('reader').querySelector('h1');
  document.title = (h ? h.textContent : 'Mail') + ' · Paquebot';
  const now = $('reader').querySelector('.tabs');
  if (now) now.scrollLeft = was;
  if (focusTab) { const again = $('reader').querySelector('[data-tab="' + focusTab + '"]'); if (again) again.focus({ preventScroll: true }); }
  mark(true);
}

// openRow opens a message of the list at the tab that is open now.
export function openRow(row) {
  const u = new URL(row.querySelector('a.open').href);
  const tab = reading() && currentTab();
  if (tab) u.searchParams.set('tab', tab);
  return open(u.pathname + u.search);
}

function currentTab() { return new URL(location.href).searchParams.get('tab'); }

export function back() {
  const id = openID();
  history.pushState(null, '', base + '/' + scope());
  leave();
  const row = id && rows().find((r) => r.dataset.id === id);
  if (row) row.querySelector('a.open').focus();
}

export function leave() {
  opening++;
  $('split').classList.remove('reading');
  $('reader').textContent = '';
  document.title = 'Mail · Paquebot';
  mark(false);
}

// turn goes to the view on the left or right.
export function turn(by) {
  const tabs = [...$('reader').querySelectorAll('.tabs a')];
  const at = tabs.findIndex((t) => t.hasAttribute('aria-current'));
  const next = tabs[at + by];
  if (next) open(next.href);
}

// ---- the preview of the HTML ----

// preview gives the frame the width and colours that were chosen last.
export function preview(within = document) {
  const box = within.querySelector('#framebox');
  if (!box) return;
  const width = recall('width', 'full'), scheme = recall('scheme', 'light');
  box.className = 'framebox ' + width + ' ' + scheme;
  press(within, '[data-width]', 'width', width);
  press(within, '[data-scheme]', 'scheme', scheme);
  const frame = box.querySelector('iframe');
  const src = frame.dataset.src + (frame.dataset.src.includes('?') ? '&' : '?') + 'scheme=' + scheme;
  if (frame.getAttribute('src') !== src) frame.setAttribute('src', src);
}

function press(within, what, name, value) {
  for (const b of within.querySelectorAll(what)) b.setAttribute('aria-pressed', String(b.dataset[name] === value));
}

document.addEventListener('click', (e) => {
  const b = e.target.closest('[data-width], [data-scheme]');
  if (!b) return;
  if (b.dataset.width) remember('width', b.dataset.width);
  if (b.dataset.scheme) remember('scheme', b.dataset.scheme);
  preview();
});

// ---- copying, filtering ----

document.addEventListener('click', async (e) => {
  const b = e.target.closest('[data-copy], [data-copytext]');
  if (!b) return;
  const pre = b.dataset.copytext === undefined ? b.parentElement.querySelector('pre') : null;
  try {
    await navigator.clipboard.writeText(pre ? pre.textContent : b.dataset.copytext);
    toast('Copied');
  } catch (_) {
    if (pre) { getSelection().selectAllChildren(pre); toast('Selected: copy it with the keyboard'); }
  }
});

document.addEventListener('input', (e) => {
  const of = e.target.dataset && e.target.dataset.filter;
  if (!of || !$(of)) return;
  const want = e.target.value.toLowerCase();
  for (const tr of $(of).rows) tr.hidden = !tr.textContent.toLowerCase().includes(want);
});
