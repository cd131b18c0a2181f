// Dialogues: forms fetched from the server, questions before something is lost.
import { $, fragment, toast } from './page.js';

const box = () => $('dialog');

export function isOpen() { return box().open; }
export function close() { if (box().open) box().close(); }

// show opens a page of the server within a dialogue; without it the link works
// as a link.
export async function show(url) {
  const text = await fragment(url, 'form');
  if (text === null) { location.href = url; return; }
  fill(text);
  const at = new URL(url, location.href).hash.slice(1);
  if (at && document.getElementById(at)) document.getElementById(at).scrollIntoView();
}

function fill(text) {
  const d = box();
  d.className = '';
  d.innerHTML = text;
  if (!d.open) d.showModal();
  const first = d.querySelector('[autofocus], input:not([type=hidden]), textarea, button');
  if (first) first.focus();
}

// ask resolves to true when a person agrees.
export function ask(question, yes) {
  const d = box();
  return new Promise((done) => {
    const form = document.createElement('form');
    form.method = 'dialog';
    form.className = 'sheet small';
    const h = document.createElement('h1');
    h.id = 'dialog-title';
    h.textContent = question;
    const row = document.createElement('p');
    row.className = 'buttons';
    const no = document.createElement('button'), ok = document.createElement('button');
    no.className = 'button'; no.value = 'no'; no.textContent = 'Cancel';
    ok.className = 'button primary danger'; ok.value = 'yes'; ok.textContent = yes || 'Delete';
    row.append(no, ok);
    form.append(h, row);
    d.className = '';
    d.replaceChildren(form);
    d.returnValue = '';
    d.addEventListener('close', () => done(d.returnValue === 'yes'), { once: true });
    d.showModal();
    ok.focus();
  });
}

// The forms of release and reply answer within the dialogue.
document.addEventListener('submit', async (e) => {
  const form = e.target.closest('[data-sheet]');
  if (!form || !form.closest('dialog')) return;
  e.preventDefault();
  const button = form.querySelector('.primary');
  if (button) button.disabled = true;
  const u = new URL(form.action);
  u.searchParams.set('fragment', 'form');
  const r = await fetch(u, { method: 'POST', body: new URLSearchParams(new FormData(form)) }).catch(() => null);
  if (!r) { toast('The server did not answer'); if (button) button.disabled = false; return; }
  fill(await r.text());
});

document.addEventListener('click', (e) => {
  if (e.target === box()) { close(); return; } // beside it
  if (e.target.closest('[data-close]') && box().open) { e.preventDefault(); close(); return; }
  const link = e.target.closest('[data-dialog]');
  if (link && !e.metaKey && !e.ctrlKey && !e.shiftKey && !e.button) { e.preventDefault(); show(link.href); }
});
