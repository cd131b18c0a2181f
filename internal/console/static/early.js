// Before anything is painted: the theme a person chose, and that scripts run.
(function () {
  'use strict';
  const root = document.documentElement;
  root.classList.add('js');
  try {
    const theme = localStorage.getItem('paquebot.theme');
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
    if (localStorage.getItem('paquebot.side') === 'off') root.classList.add('noside');
  } catch (_) { /* no storage: as the system has it */ }
})();
