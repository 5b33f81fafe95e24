  // --- a picture of your own, through the net ---------------------------------------------------

  const SIDE = 32;

  function startOwn(place) {
    const file = byId('file'), answer = byId('answer');
    let worker = null, asked = 0, seen = null;

    // resolves once the file beside the page has run, which puts the net into window.NETWORK
    const load = () => new Promise((resolve, reject) => {
      if (window.NETWORK) {
        resolve();
        return;
      }
      answer.textContent = 'Reading the net …';
      const script = make('script', {src: place, onload: resolve, onerror: () =>
        reject(new Error(`${place} is missing beside this page; make gallery writes it.`))});
      document.head.append(script);
    });

    // the middle square, halved while it is more than twice too large: a mean over areas
    function shrunk(picture) {
      let side = Math.min(picture.width, picture.height), from = picture;
      let box = [(picture.width - side) / 2, (picture.height - side) / 2];
      while (side !== SIDE) {
        const smaller = side >= 2 * SIDE ? Math.ceil(side / 2) : SIDE;
        from = drawn(from, ...box, side, smaller);
        [side, box] = [smaller, [0, 0]];
      }
      return drawn(from, ...box, side, side);
    }

    function drawn(picture, x, y, side, smaller) {
      const canvas = make('canvas', {width: smaller, height: smaller});
      const context = canvas.getContext('2d', {willReadFrequently: true});
      context.imageSmoothingQuality = 'high';
      context.fillStyle = '#fff'; // behind what is transparent
      context.fillRect(0, 0, smaller, smaller);
      context.drawImage(picture, x, y, side, side, 0, 0, smaller, smaller);
      return canvas;
    }

    function start() {
      const source = new Blob([byId('forward').textContent], {type: 'text/javascript'});
      worker = new Worker(URL.createObjectURL(source));
      worker.postMessage({network: window.NETWORK});
      worker.onmessage = ({data}) => { if (data.ticket === asked) show(data); };
    }

    async function look(blob, name) {
      const ticket = ++asked;
      try {
        await load();
        const picture = await createImageBitmap(blob).catch(() => {
          throw new Error(`${name} is no picture that this browser can read.`);
        });
        if (ticket !== asked) return;
        if (!worker) start();
        seen = shrunk(picture);
        answer.textContent = 'The net looks at it …';
        const pixels = seen.getContext('2d').getImageData(0, 0, SIDE, SIDE).data;
        worker.postMessage({ticket, pixels});
      } catch (error) {
        if (ticket === asked) answer.textContent = error.message;
      }
    }

    function grey({height, width}, map) {
      const canvas = make('canvas', {width, height}), context = canvas.getContext('2d');
      const image = context.createImageData(width, height);
      const low = Math.min(...map), range = Math.max(...map) - low || 1;
      map.forEach((value, i) => image.data.set([...Array(3).fill(255 * (value - low) / range), 255], 4 * i));
      context.putImageData(image, 0, 0);
      return canvas;
    }

    function stage(layer) {
      const text = `${layer.channels} channels of ${layer.width}×${layer.height} pixels: `
        + `the ${layer.maps.length} of most contrast`;
      const row = make('div', {className: 'maps'}, ...layer.maps.map((map) => grey(layer, map)));
      row.setAttribute('role', 'img');
      row.setAttribute('aria-label', `Feature maps, ${text}`);
      return make('figure', {className: 'shot'}, row, make('figcaption', {}, text));
    }

    function show({shares, maps, milliseconds}) {
      const order = shares.map((share, i) => [window.NETWORK.classes[i], share])
        .sort((one, other) => other[1] - one[1]);
      const [said, share] = order[0];
      seen.setAttribute('role', 'img');
      seen.setAttribute('aria-label', 'Your picture as the net sees it, 32×32 pixels');
      byId('seen').replaceChildren(seen);
      byId('own-bars').replaceChildren(...order.map((one) => bar(one, said, '')));
      byId('own-maps').replaceChildren(...maps.map(stage));
      byId('own-result').hidden = false;
      answer.textContent = `The net says ${said} (${percent(share)}), after `
        + `${(milliseconds / 1000).toFixed(2)} seconds of arithmetic in this browser.`;
    }

    file.addEventListener('change', () => { if (file.files.length) look(file.files[0], file.files[0].name); });
    byId('take').addEventListener('click', () => {
      const {src} = byId('image').querySelector('img'); // a data: address, which fetch may not read from disk
      const bytes = Uint8Array.from(atob(src.split(',')[1]), (letter) => letter.charCodeAt(0));
      look(new Blob([bytes], {type: 'image/png'}), 'The test image');
    });
    // anywhere on the page: a browser would otherwise leave it for the picture
    document.addEventListener('dragover', (event) => {
      if (event.dataTransfer.types.includes('Files')) event.preventDefault();
    });
    document.addEventListener('drop', (event) => {
      const [dropped] = event.dataTransfer.files;
      if (!dropped) return;
      event.preventDefault();
      byId('own').scrollIntoView();
      look(dropped, dropped.name);
    });
  }
