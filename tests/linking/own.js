// For `--pre-js` behind settings.js: the store lies in the program's own memory.
Module['sabfs']['access'] = 'own';
