// Turns and shrinks a picture in the browser: the model sees 224×224 pixels, so large uploads only cost time.

const JPEG = { type: "image/jpeg", quality: 0.92 };

/**
 * Returns `{blob, original, sent}`. Both sizes are null if the picture is sent as it is: it is small
 * enough, `maxSide` is 0, or this platform cannot decode it (Node; TIFF and HEIC in most browsers).
 */
export async function shrink(blob, maxSide) {
  const asItIs = { blob, original: null, sent: null };
  if (!maxSide || typeof createImageBitmap !== "function") return asItIs;
  const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => null);
  if (bitmap === null) return asItIs;
  const original = { width: bitmap.width, height: bitmap.height };
  const factor = maxSide / Math.max(original.width, original.height);
  if (factor >= 1) {
    bitmap.close();
    return asItIs;
  }
  const sent = {
    width: Math.max(1, Math.round(original.width * factor)),
    height: Math.max(1, Math.round(original.height * factor)),
  };
  const drawn = await draw(bitmap, sent);
  bitmap.close();
  return { blob: drawn, original, sent };
}

async function draw(bitmap, { width, height }) {
  const canvas = typeof OffscreenCanvas === "function" ? new OffscreenCanvas(width, height) : document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // transparent areas become white, as in the service
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  if (canvas.convertToBlob) return canvas.convertToBlob(JPEG);
  return new Promise((resolve) => canvas.toBlob(resolve, JPEG.type, JPEG.quality));
}
