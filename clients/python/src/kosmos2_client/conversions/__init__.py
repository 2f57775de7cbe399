"""Conversions of answers to the forms of other tools, one module and one name each.

| module | converts predictions to |
|---|---|
| `supervision` | `supervision.Detections` |
| `vlm_tuple` | the pair that `Detections.from_vlm(sv.VLM.KOSMOS_2, …)` reads |
| `coco` | annotations and results of COCO |
| `yolo` | lines of a YOLO label file |
| `label_studio` | a prediction of Label Studio |
| `rows` | rows of a table, for CSV and Parquet |

`orientation` turns boxes between the upright picture and the picture as stored. The methods `to_…`
of an answer call these modules, and so does `kosmos2-client export`.
"""
