// Takes a picture with the camera: in a dialog, or with the phone's own camera where a page may not use it.
import { byId } from "./dom.js";

export function mountCamera(use) {
  const dialog = byId("camera-dialog");
  const video = byId("video");
  byId("camera").addEventListener("click", async () => {
    const stream = await openCamera();
    if (stream === null) {
      byId("capture").click();
      return;
    }
    stop(video.srcObject); // of an earlier click of a double click
    video.srcObject = stream;
    dialog.showModal();
  });
  byId("shoot").addEventListener("click", async () => {
    const blob = await photograph(video);
    dialog.close();
    use(blob, "photo.jpg");
  });
  byId("close-camera").addEventListener("click", () => dialog.close());
  video.addEventListener("emptied", () => (byId("shoot").disabled = true));
  video.addEventListener("loadeddata", () => {
    byId("shoot").disabled = false;
    byId("shoot").focus();
  });
  dialog.addEventListener("close", () => {
    stop(video.srcObject);
    video.srcObject = null;
  });
}

// Browsers offer the camera to pages over HTTPS and on this machine only.
async function openCamera() {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    return null;
  }
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function photograph(video) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
