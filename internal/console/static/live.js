// Live: what the server says as it happens.
import { $, base, recall, remember, say, toast } from './page.js';
import { soon } from './list.js';

let state = '';
function light(s) {
  if (s) state = s;
  const dot = $('live'), text = $('live-text');
  if (dot) dot.className = 'live ' + state;
  if (text) text.textContent = state === 'on' ? 'Live' : state === 'off' ? 'Not connected, trying again' : 'Connecting';
  document.documentElement.dataset.live = state;
}
document.addEventListener('renewed', () => { light(); button(); });

export function listen() {
  const source = new EventSource(base + '/api/dev/events');
  let first = true;
  source.addEventListener('hello', () => { light('on'); if (!first) soon(); first = false; });
  source.addEventListener('caught', (e) => {
    soon();
    const m = JSON.parse(e.data);
    say('New mail from ' + m.from + ': ' + (m.subject || 'no subject'));
    notify(m);
  });
  source.addEventListener('deleted', soon);
  source.addEventListener('marked', (e) => {
    const m = JSON.parse(e.data);
    for (const row of document.querySelectorAll('.row[data-id="' + m.id + '"]')) row.classList.toggle('unread', !m.read);
  });
  source.addEventListener('failed', (e) => {
    soon();
    const s = JSON.parse(e.data);
    say('On port ' + s.port + ' something was refused');
  });
  source.onerror = () => light('off');
}

// ---- notifications: only for who asked, only when the page is not in sight ----

function wanted() { return recall('notify', '') === 'on' && 'Notification' in window && Notification.permission === 'granted'; }

let told = 0;
function notify(m) {
  if (!document.hidden || !wanted() || Date.now() - told < 2000) return;
  told = Date.now();
  const n = new Notification(m.subject || '(no subject)', { body: 'from ' + m.from + '\nto ' + m.to, tag: 'paquebot', icon: base + '/static/icon.svg' });
  n.onclick = () => { window.focus(); location.href = base + '/m/' + m.id; n.close(); };
}

function button() {
  for (const b of document.querySelectorAll('[data-command=notify]')) {
    b.hidden = !('Notification' in window);
    b.setAttribute('aria-pressed', String(wanted()));
    b.textContent = wanted() ? 'Stop telling me of new mail' : 'Tell me of new mail';
  }
}

export async function toggleNotify() {
  if (wanted()) { remember('notify', 'off'); toast('No more notifications'); button(); return; }
  if (!('Notification' in window)) { toast('This browser shows no notifications'); return; }
  const answer = await Notification.requestPermission();
  remember('notify', answer === 'granted' ? 'on' : 'off');
  toast(answer === 'granted' ? 'You will be told when this page is not in sight' : 'The browser was told not to show notifications');
  button();
}

button();
