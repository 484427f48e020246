"""Reads tables of unknown form: CSV of any dialect, or a workbook, with any text above the header.

Takes in a file and the names of the images. Gives its tables, or the reasons why it has none. What
the columns mean (patients, labels) is not decided here but in `metadata`, the only caller.

In reading order:

- `reading`: from a file to tables
- `csv_text`, `workbooks`: the two kinds of files
- `header`: finding the header of a table
- `assembling`: from rows to a table
- `table`: a table in memory, and the errors of a file that is none
- `image_names`: which images a cell names
- `cells`: comparing names of columns, and cells that mean yes or no
"""
